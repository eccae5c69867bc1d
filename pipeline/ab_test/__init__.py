"""An online A/B test in the simulator: policies rank, simulated users answer, and what they give is compared."""
