//! The actors that drive the machines: they receive, stamp the time, call the machine and perform
//! its actions. Decide nothing themselves.

pub(crate) mod clock;
mod compute;
pub(crate) mod coordinator;
pub(crate) mod guests;
pub(crate) mod link;
pub(crate) mod mail;
pub(crate) mod paths;
pub(crate) mod provisioner;
pub(crate) mod rendezvous;
pub(crate) mod saver;
mod sources;
mod table;
pub(crate) mod worker;
