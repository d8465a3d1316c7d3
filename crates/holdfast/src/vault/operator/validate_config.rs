//! `operator validate-config`: configuration files, checked without a server.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use holdfast_types::{Clock as _, SystemClock};
use holdfast_vault::config;
use serde_json::json;

use super::super::output::{Format, FormatFlag, print_document, print_line, warn};
use super::super::{Failure, Outcome, environment};

/// Check configuration files of a server without starting one.
///
/// All that is wrong is told at once. Exit codes: 0 good, 1 not usable, 2 usable, with warnings, 3 no
/// file named.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault operator validate-config -config=vault.hcl || true")]
pub(in super::super) struct ValidateConfig {
    /// A configuration file, or a folder of them; may be repeated [env: `BAO_CONFIG_PATH`]
    #[arg(long, value_name = "PATH")]
    config: Vec<PathBuf>,
    #[command(flatten)]
    format: FormatFlag,
}

impl ValidateConfig {
    pub(super) fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let mut paths = self.config.clone();
        if paths.is_empty() {
            paths.extend(environment::read("CONFIG_PATH").map(PathBuf::from));
        }
        if paths.is_empty() {
            warn("Must specify a configuration file using -config.");
            return Err(Failure::Told(3));
        }
        let (status, code, said) = match config::load(&paths) {
            Ok(config) if config.warnings.is_empty() => ("ok", 0, Vec::new()),
            Ok(config) => ("warn", 2, config.warnings),
            Err(problems) => ("fail", 1, problems.to_string().lines().map(str::to_owned).collect()),
        };
        if format == Format::Table {
            print_line(concat!("Holdfast v", env!("CARGO_PKG_VERSION")))?;
            let word = match status {
                "ok" => return print_line("[ success ] Validate Config"),
                "warn" => "warning",
                _ => "failure",
            };
            for text in said {
                print_line(&format!("[ {word} ] Validate Config: {text}"))?;
            }
        } else {
            let mut report = json!({
                "time": SystemClock.now().to_string(),
                "name": "Validate Config",
                "status": status,
            });
            match status {
                "warn" => report["warnings"] = json!(said),
                "fail" => report["message"] = json!(said.join("\n")),
                _ => {}
            }
            print_document(format, &report)?;
        }
        Ok(ExitCode::from(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_decides_the_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        let good = r#"storage "inmem" {} listener "tcp" { tls_disable = true }"#;
        for (text, want) in
            [(good, 0), ("storage \"inmem\" {", 1), ("storage \"inmem\" {}\nfoo = 1", 1)]
        {
            let file = folder.path().join("server.hcl");
            std::fs::write(&file, text).unwrap();
            for format in ["table", "json"] {
                let command =
                    ValidateConfig { config: vec![file.clone()], format: FormatFlag::of(format) };
                let code = command.run().unwrap();
                assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(want)), "{text}");
            }
        }
    }
}
