//! The engine as an embedder has it: real threads, real transfers, a real state directory.

mod session;
