//! What is mounted where.

mod registry;

pub use registry::{MountClass, MountFactory, Registry};
