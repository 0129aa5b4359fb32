//! Nothing: each benchmark is a program of its own, and `support` is what they have in common.
