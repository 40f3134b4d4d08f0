"""The workers of a program: processes that accept on one port, and the parent that watches over them."""
