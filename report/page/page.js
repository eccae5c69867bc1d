// Draws the charts, orders and filters the tables, and switches between light and dark.
(() => {
  "use strict";
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const root = document.documentElement;

  // The palette of Okabe and Ito: told apart by colour-blind readers too, on either ground.
  const PALETTE = {
    light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a6a00", "#56b4e9", "#5b5b5b"],
    dark: ["#56b4e9", "#e69f00", "#2fc79a", "#e29ac4", "#f0e442", "#6aa5d8", "#b8b8b8"],
  };

  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  function config(element) {
    const dark = isDark();
    const [text, soft, line] = dark ? ["#e6e9ee", "#9aa5b3", "#2b323c"] : ["#1b2026", "#59636f", "#dde2e8"];
    const narrow = element.clientWidth < 520;
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent",
      font,
      view: { stroke: null },
      axis: { labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
              titleFontWeight: "normal", labelLimit: narrow ? 100 : 220, labelFontSize: 12, titleFontSize: 12 },
      legend: { labelColor: text, titleColor: soft, orient: "top", direction: "horizontal", title: null,
                columns: narrow ? 2 : 6, labelFontSize: 12, labelLimit: narrow ? 150 : 300, symbolStrokeWidth: 2 },
      title: { color: text, anchor: "start", fontWeight: "normal", fontSize: 13 },
      text: { color: text, fontSize: 12 },
      rule: { color: soft },
      range: { category: PALETTE[dark ? "dark" : "light"],
               diverging: dark ? ["#e69f00", "#242a33", "#56b4e9"] : ["#d55e00", "#f1f3f5", "#0072b2"],
               heatmap: dark ? ["#1c232c", "#56b4e9"] : ["#eef3f8", "#0b62b8"] },
    };
  }

  async function draw(element) {
    const options = { mode: "vega-lite", renderer: "svg", actions: false, config: config(element),
                      tooltip: { theme: isDark() ? "dark" : undefined } };
    element.result?.finalize();
    element.result = await vegaEmbed(element, specs[element.dataset.chart], options);
  }

  const charts = [...document.querySelectorAll("[data-chart]")];

  async function drawAll() {
    for (const element of charts) {
      // A folded-away chart has no width yet: it is drawn when it is opened.
      if (element.clientWidth) await draw(element);
    }
    root.dataset.drawn = "true";
  }

  // One choice for all figures of a section that offer it.
  function choose(select) {
    const name = select.selectedOptions[0].text;
    for (const other of select.closest("section").querySelectorAll("[data-choose]")) {
      const option = [...other.options].find((option) => option.text === name);
      if (!option || other.dataset.choose !== select.dataset.choose) continue;
      other.value = option.value;
      const element = other.closest("figure").querySelector("[data-chart]");
      element.dataset.chart = option.value;
      if (element.clientWidth) draw(element);
    }
  }
  for (const select of document.querySelectorAll("[data-choose]")) {
    select.addEventListener("change", () => choose(select));
  }
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => {
      if (details.open) details.querySelectorAll("[data-chart]").forEach(draw);
    });
  }

  // What a cell says, without what stands small below it.
  const said = (cell) => cell.firstChild?.textContent.trim() ?? "";

  function show(block) {
    const filter = block.querySelector("[data-filter]");
    const search = block.querySelector("[data-search]").value.toLowerCase();
    let shown = 0;
    for (const row of block.querySelectorAll("tbody tr")) {
      const chosen = !filter.value || said(row.cells[filter.dataset.filter]) === filter.value;
      row.hidden = !(chosen && row.textContent.toLowerCase().includes(search));
      shown += !row.hidden;
    }
    block.querySelector("[data-count]").value = `${shown} of ${block.querySelectorAll("tbody tr").length} rows`;
  }

  function sort(button) {
    const heading = button.closest("th");
    const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    heading.closest("tr").querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const numeric = heading.classList.contains("number");
    // What can't be ordered stands last, whichever way the rest goes.
    const key = (row) => {
      const cell = row.cells[button.dataset.sort];
      return numeric ? parseFloat(cell.dataset.value ?? "NaN") : cell.dataset.value ?? said(cell);
    };
    const compare = (a, b) => {
      if (!numeric) return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
      if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);
      return sign * (a - b);
    };
    const body = heading.closest("table").tBodies[0];
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
  }

  for (const block of document.querySelectorAll(".table-block")) {
    block.querySelectorAll("[data-sort]").forEach((button) => button.addEventListener("click", () => sort(button)));
    block.querySelectorAll("[data-filter]").forEach((element) => element.addEventListener("change", () => show(block)));
    block.querySelectorAll("[data-search]").forEach((element) => element.addEventListener("input", () => show(block)));
  }

  const theme = document.getElementById("theme");
  function setTheme(value) {
    if (value) root.dataset.theme = value;
    else delete root.dataset.theme;
  }
  try {
    theme.value = localStorage.getItem("fulcrum-theme") ?? "";
    setTheme(theme.value);
  } catch {
    // A browser may keep a file from storing anything; the choice then lasts as long as the page.
  }
  theme.addEventListener("change", () => {
    setTheme(theme.value);
    try {
      localStorage.setItem("fulcrum-theme", theme.value);
    } catch {
      // As above.
    }
    drawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
})();
