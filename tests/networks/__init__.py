"""Networks: what they are, what they compute, what is told and drawn of them."""
