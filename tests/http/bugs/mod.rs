//! Behaviours that aria2's users have asked for (known-bugs 1 to 35), each by its number and
//! through the whole chain.

pub mod finishing;
mod mirrors;
mod names;
mod ranges;
mod retries;
mod secure;
