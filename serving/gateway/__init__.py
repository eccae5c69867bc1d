"""What the server does with requests that hold ids and little else: a store completes them."""
