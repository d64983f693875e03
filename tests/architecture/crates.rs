//! The crates of the workspace, and what each may build on.

/// What a crate of the workspace may build on.
pub(crate) struct Rules {
    /// Crates of the workspace.
    pub(crate) ours: &'static [&'static str],
    /// Crates of others; `None`: any.
    pub(crate) others: Option<&'static [&'static str]>,
}

/// One row for each crate. A new crate gets one before anything else.
pub(crate) const CRATES: &[(&str, Rules)] = &[
    ("coupon-proto", Rules { ours: &[], others: None }),
    (
        "coupon-cluster",
        Rules {
            ours: &[],
            others: Some(&["aes", "hashring", "thiserror", "unicode-normalization"]),
        },
    ),
    (
        "coupon-accept",
        Rules { ours: &[], others: Some(&["parking_lot", "rustix", "tokio", "tracing"]) },
    ),
    ("coupon-env", Rules { ours: &[], others: Some(&["rand", "uuid"]) }),
    ("coupon-transport", Rules { ours: &["coupon-cluster"], others: None }),
    (
        "coupon-wire",
        Rules {
            ours: &["coupon-cluster", "coupon-proto"],
            others: Some(&["thiserror", "tonic", "tonic-types"]),
        },
    ),
    ("coupon-trace", Rules { ours: &[], others: Some(&["parking_lot"]) }),
    (
        "coupon-ledger",
        Rules { ours: &["coupon-cluster"], others: Some(&["siphasher", "thiserror"]) },
    ),
    ("coupon-checker", Rules { ours: &[], others: Some(&["serde", "serde_json", "thiserror"]) }),
    (
        "coupon-node",
        Rules {
            ours: &[
                "coupon-accept",
                "coupon-cluster",
                "coupon-env",
                "coupon-ledger",
                "coupon-proto",
                "coupon-trace",
                "coupon-transport",
                "coupon-wire",
            ],
            others: None,
        },
    ),
    (
        "coupon-admin",
        Rules {
            ours: &[
                "coupon-client",
                "coupon-cluster",
                "coupon-proto",
                "coupon-transport",
                "coupon-wire",
            ],
            others: None,
        },
    ),
    (
        "coupon-router",
        Rules {
            ours: &[
                "coupon-accept",
                "coupon-cluster",
                "coupon-env",
                "coupon-proto",
                "coupon-protocols",
                "coupon-trace",
                "coupon-transport",
                "coupon-wire",
            ],
            others: None,
        },
    ),
    // It must work for any service, so that it knows none of ours.
    ("coupon-protocols", Rules { ours: &["coupon-accept", "coupon-trace"], others: None }),
    ("coupon-client", Rules { ours: &["coupon-proto"], others: None }),
    ("coupon-loadtest", Rules { ours: &["coupon-checker", "coupon-client"], others: None }),
    (
        "coupon-bench",
        Rules {
            ours: &[
                "coupon-admin",
                "coupon-client",
                "coupon-cluster",
                "coupon-loadtest",
                "coupon-proto",
            ],
            others: None,
        },
    ),
    (
        "coupon-chaos",
        Rules {
            ours: &[
                "coupon-admin",
                "coupon-checker",
                "coupon-cluster",
                "coupon-loadtest",
                "coupon-proto",
                "coupon-transport",
                "coupon-wire",
            ],
            others: None,
        },
    ),
    (
        "coupon",
        Rules {
            ours: &[
                "coupon-admin",
                "coupon-checker",
                "coupon-client",
                "coupon-cluster",
                "coupon-env",
                "coupon-loadtest",
                "coupon-node",
                "coupon-proto",
                "coupon-router",
                "coupon-trace",
                "coupon-transport",
                "coupon-wire",
            ],
            others: None,
        },
    ),
];
