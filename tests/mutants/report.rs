//! What the program says at the end of a run, and what it exits with.

use std::process::Output;

use crate::support::process::coupon;

/// What was said.
pub(crate) struct Report {
    code: Option<i32>,
    said: String,
    logged: String,
}

impl From<Output> for Report {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let report = Self {
            code: output.status.code(),
            said: text(&output.stdout),
            logged: text(&output.stderr),
        };
        // The test runner shows it when asked to, and when the test fails.
        println!("{}\n{}", report.said, report.logged);
        report
    }
}

impl Report {
    /// How often the verdict found a violation of one check.
    fn found(&self, check: &str) -> u64 {
        let lines = self.said.lines().map(str::trim);
        let line = lines.filter_map(|line| line.strip_prefix(check)).next_back();
        let found = line.and_then(|rest| rest.trim().parse().ok());
        found.unwrap_or_else(|| panic!("the verdict does not mention {check}"))
    }

    /// The program succeeded, and every promise was kept.
    pub(crate) fn assert_ok(&self) {
        assert_eq!(self.code, Some(0));
        assert!(self.said.contains("verdict: OK"));
    }

    /// The program failed, and said which promise was broken.
    pub(crate) fn assert_violated(&self, check: &str) {
        assert_eq!(self.code, Some(1));
        assert!(self.said.contains("verdict: VIOLATED"));
        assert!(self.found(check) > 0);
        assert!(self.said.contains(&format!("! {check}: ")));
    }

    /// The program failed for a reason.
    pub(crate) fn assert_failed(&self, why: &str) {
        assert_eq!(self.code, Some(1));
        assert!(self.logged.contains(why));
    }
}

/// Runs `coupon loadtest` against a router, off the thread of the test.
pub(crate) async fn loadtest(router: &str, args: &str) -> Report {
    run(&format!("loadtest --router {router} {args}")).await
}

/// Runs the program, without a mutant in it, off the thread of the test.
pub(crate) async fn run(args: &str) -> Report {
    let mut command = coupon(&args.split_whitespace().collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("it does not panic").expect("the program was just built").into()
}
