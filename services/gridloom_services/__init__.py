"""The services of Gridloom, their chassis, and the platform that composes them."""
