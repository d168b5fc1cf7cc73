//! The machine by lists of inputs and actions, and two of them in a world of simulated NATs.

mod table;
mod world;
