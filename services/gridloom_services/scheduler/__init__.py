"""The scheduler: jobs from their submit to their end, and the runtime that runs them."""
