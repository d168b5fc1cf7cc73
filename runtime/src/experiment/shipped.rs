//! The experiments that come with the command.

/// A shipped experiment.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// What the command is given to run it.
    pub name: &'static str,
    /// Its grid file.
    pub text: &'static str,
}

/// All shipped experiments, those with real workers first.
pub const SHIPPED: &[Shipped] = &[
    Shipped {
        name: "exchange-tree-policy",
        text: include_str!("shipped/exchange-tree-policy.toml"),
    },
    Shipped {
        name: "block-size",
        text: include_str!("shipped/block-size.toml"),
    },
    Shipped {
        name: "workers-cores",
        text: include_str!("shipped/workers-cores.toml"),
    },
    Shipped {
        name: "durability-here",
        text: include_str!("shipped/durability-here.toml"),
    },
    Shipped {
        name: "nat-mix",
        text: include_str!("shipped/nat-mix.toml"),
    },
    Shipped {
        name: "stragglers",
        text: include_str!("shipped/stragglers.toml"),
    },
    Shipped {
        name: "durability",
        text: include_str!("shipped/durability.toml"),
    },
    Shipped {
        name: "paper-qr",
        text: include_str!("shipped/paper-qr.toml"),
    },
    Shipped {
        name: "paper-others",
        text: include_str!("shipped/paper-others.toml"),
    },
    Shipped {
        name: "paper-2018",
        text: include_str!("shipped/paper-2018.toml"),
    },
    Shipped {
        name: "paper-elastic",
        text: include_str!("shipped/paper-elastic.toml"),
    },
];
