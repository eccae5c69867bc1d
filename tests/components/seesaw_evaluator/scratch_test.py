import time, json
import tensorflow_model_analysis as tfma
from pathlib import Path
import importlib.util
spec_=importlib.util.spec_from_file_location("c", Path(__file__).with_name("conftest.py")); c=importlib.util.module_from_spec(spec_); import sys; sys.modules["c"]=c; spec_.loader.exec_module(c)

def test_x(tmp_path, save_model, evaluate):
    ex=c.write_examples(tmp_path/"ex", c.simulated(4000,150))
    a=save_model("a"); b=save_model("b",{"like":2.0}); 
    t=time.time()
    r=evaluate(c.SPEC, examples=ex, model=b, baseline_model=a, reference_model=a)
    print("took",time.time()-t)
    for ch in r.result.checks: print(ch.verdict, ch.blocks, ch.reason)
    print(r.result.result("like"))
    print(sorted(x.name for x in Path(r.evaluation.uri).iterdir()), Path(r.evaluation.uri,"evaluation.json").stat().st_size)
    e=tfma.load_eval_result(r.evaluation.uri, model_name="candidate")
    print(e.slicing_metrics[0]); print(len(e.slicing_metrics))
    v=tfma.load_validation_result(r.evaluation.uri); print(str(v)[:3000])
    print(r.blessing)
