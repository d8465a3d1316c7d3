//! Functions that consul-template has and Holdfast refuses, by name: a template that calls one
//! parses, and ends with an error that says why.

use super::Function;
use super::Parameter::Any;
use crate::error::Fault;

macro_rules! refuse {
    ($reason:literal: $($name:literal),* $(,)?) => {
        [$(
            Function::passes($name, &[], |_, _| {
                Err(Fault::Refused(concat!($name, " ", $reason).to_owned()))
            })
            .rest(Any)
        ),*]
    };
}

const CONSUL: [Function; 24] = refuse!(
    "needs Consul, which Holdfast does not speak":
    "byKey", "byMeta", "byPort", "byTag", "caLeaf", "caRoots", "connect", "datacenters", "explode",
    "exportedServices", "importedServices", "key", "keyExists", "keyOrDefault", "ls", "node",
    "nodes", "partitions", "peerings", "safeLs", "safeTree", "service", "services",
    "tree",
);

const NOMAD: [Function; 6] = refuse!(
    "needs Nomad, which Holdfast does not speak":
    "nomadService", "nomadServices", "nomadVar", "nomadVarExists", "nomadVarList",
    "nomadVarListSafe",
);

const OTHERS: [Function; 1] =
    refuse!("would run a program: templates here only make text": "plugin");

const ADDRESSES: [Function; 1] =
    refuse!("reads the machine's network addresses, which templates here do not": "sockaddr");

const DEBUGGING: [Function; 4] = refuse!(
    "prints Go's memory, of which there is none": "spew_dump", "spew_printf", "spew_sdump",
    "spew_sprintf",
);

pub(super) const TABLES: &[&[Function]] = &[&CONSUL, &NOMAD, &OTHERS, &ADDRESSES, &DEBUGGING];
