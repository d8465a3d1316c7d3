//! Rotations, as operators run them: real databases, agents and consumers, against our server and
//! the real one, with kills in every phase.

mod engine;
mod failures;
mod faults;
mod prove;
mod values;
mod world;
