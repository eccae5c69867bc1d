"""How good models are: every task on every slice with intervals by user, and the gate."""
