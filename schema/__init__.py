"""The ranking spec: one declaration of what interaction logs mean, from which everything else is derived."""
