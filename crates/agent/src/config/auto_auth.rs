//! `auto_auth { ... }`: logging in and passing the token on.

use holdfast_hcl::{Block, Problems};

use super::{MethodConfig, SinkConfig, value};

/// How the agent logs in, and where it writes the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoAuthConfig {
    /// How it logs in.
    pub method: MethodConfig,
    /// Where it writes the token.
    pub sinks: Vec<SinkConfig>,
    /// Logs in anew when the method's credential changes, such as a JWT's file.
    pub reauth_on_new_credentials: bool,
}

impl AutoAuthConfig {
    /// None where something is wrong that was reported.
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        if !block.labels.is_empty() {
            let text = "takes no label; in JSON, what stands in it goes into lists: \
                        \"method\": [{ ... }]";
            problems.add(block.position, "auto_auth", text);
            return None;
        }
        let mut settings = block.settings(problems);
        let method = value::block(&mut settings, "method", MethodConfig::read);
        if method.is_none() {
            settings.problems().add(block.position, "auto_auth.method", "is missing");
        }
        let sinks = value::blocks(&mut settings, "sink", SinkConfig::read);
        let sinks: Vec<_> = sinks.into_iter().flatten().collect();
        let reauth = settings.bool("enable_reauth_on_new_credentials").unwrap_or(false);
        let method = method.flatten();
        if method.as_ref().is_some_and(|method| method.wrap_ttl.is_some()) {
            match &sinks[..] {
                [sink] if sink.wrap_ttl.is_some() => {
                    let text = "is set on the method, and on its sink too";
                    settings.problems().add(block.position, "auto_auth.method.wrap_ttl", text);
                }
                [_] => {}
                _ => {
                    let text = "is set: a wrapped token is good for one sink, no fewer and no more";
                    settings.problems().add(block.position, "auto_auth.method.wrap_ttl", text);
                }
            }
        }
        settings.finish();
        Some(Self { method: method?, sinks, reauth_on_new_credentials: reauth })
    }
}
