//! Behaviours that aria2's users have asked for (known-bugs 43 and 58 to 68), each by its number and
//! through the whole chain: calls or a command line into the program, bytes and status out.

mod contents;
mod links;
mod metalinks;
mod seeding;

use crate::running::{Program, Seed};
