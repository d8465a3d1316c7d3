//! The agent's files, as processes beside it see them: against our server and the real one, and
//! beside the real agent.

mod alike;
mod changes;
mod faults;
mod processes;
mod prove;
pub(crate) mod world;
