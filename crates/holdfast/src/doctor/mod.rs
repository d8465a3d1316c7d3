//! `holdfast doctor`: what is wrong with agents' configurations, templates, policies and roles,
//! before anything runs.
//!
//! [`seen`] finds the files, [`templates`], [`agents`], [`access`] and [`roles`] look at them, each
//! without running anything, and [`allow`] leaves out what a comment says is meant.

mod access;
mod agents;
mod allow;
mod roles;
mod rules;
mod seen;
mod services;
mod templates;
#[cfg(test)]
mod tests;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use crate::finding::Finding;
use crate::why::print;
use seen::Seen;

/// Find what is wrong with agents, templates, policies and roles before anything runs.
///
/// It reads files and asks no server. Each finding has a place, a cause and a fix; the rules are in
/// docs/doctor.md. A comment on the line before, `# holdfast doctor: allow <rule>`, says that
/// something is meant. Exit code 0: nothing is wrong. 1: something is. 2: a file cannot be read, or
/// there is nothing to look at.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdfast doctor                                     the platform or the agents in this directory
  holdfast doctor agent.hcl --policy policies/web.hcl an agent and the policy that it will have
  holdfast doctor examples/zero-trust --output json")]
pub(crate) struct Doctor {
    /// Platform directories, agents' configurations, templates, policies, or directories of them.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// A policy that the agents have, in place of those of their roles; may be repeated.
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// The role that the agents log in as, where it cannot be told from their files.
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// A rule that is not to be looked at; may be repeated.
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What came out.
struct Diagnosis {
    findings: Vec<Finding>,
    /// How many of what was looked at, such as `2 agents`.
    looked_at: Vec<String>,
    /// What could not be looked at, and why.
    left_out: Vec<String>,
}

impl Doctor {
    pub(crate) fn run(&self) -> ExitCode {
        let diagnosis = self.look();
        let told = diagnosis.and_then(|diagnosis| {
            self.print(&diagnosis)?;
            Ok(u8::from(!diagnosis.findings.is_empty()))
        });
        match told {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                eprintln!("holdfast: {error:#}");
                ExitCode::from(2)
            }
        }
    }

    fn look(&self) -> anyhow::Result<Diagnosis> {
        for name in &self.allow {
            rules::check(name)?;
        }
        let mut seen = Seen::default();
        for path in &self.paths {
            seen.add(path)?;
        }
        seen.check(&self.paths)?;
        let given = access::given(&self.policy)?;
        let mut left_out = Vec::new();
        let (mut findings, policies) = seen.policies.findings();
        findings.extend(seen.policies.unused());
        findings.append(&mut seen.problems);
        let mut count = seen.templates.len();
        for agent in &seen.agents {
            let role = roles::of_agent(agent, &seen.objects, self.role.as_deref());
            let access = access::of(agent, role.as_ref(), &given, &policies, &seen, &mut left_out);
            let read = templates::of_agent(agent, &mut left_out);
            count += read.len();
            agents::look(agent, &read, &mut findings);
            for template in &read {
                templates::look(template, &mut findings);
                if let (Some(access), Ok(parsed)) = (&access, &template.parsed) {
                    access.look(&template.text, &parsed.calls(), &mut findings);
                }
            }
            roles::look(agent, role.as_ref(), &mut findings);
            roles::rotations(&seen.objects, &read, &seen.policies.mounts, &mut findings);
        }
        let mut of_services = Vec::new();
        for service in &seen.services {
            let access = service.access(&policies, &seen);
            for template in service.read() {
                count += 1;
                templates::look(&template, &mut findings);
                if let Ok(parsed) = &template.parsed {
                    access.look(&template.text, &parsed.calls(), &mut findings);
                }
                of_services.push(template);
            }
        }
        if seen.agents.is_empty() {
            roles::rotations(&seen.objects, &of_services, &seen.policies.mounts, &mut findings);
        }
        for file in &seen.templates {
            let template = templates::alone(file);
            templates::look(&template, &mut findings);
            if let (false, Ok(parsed)) = (given.is_empty(), &template.parsed) {
                let access = access::Access::new(&given, Vec::new(), &seen.policies);
                access.look(&template.text, &parsed.calls(), &mut findings);
            }
        }
        let findings = allow::apply(findings, seen.files(), &self.allow);
        let looked_at = [
            (seen.agents.len(), "agent", "agents"),
            (seen.services.len(), "service", "services"),
            (count, "template", "templates"),
            (seen.policies.files.len() + given.len(), "policy", "policies"),
            (seen.objects.len(), "object of the server", "objects of the server"),
        ];
        let looked_at = looked_at.iter().filter(|(count, ..)| *count > 0);
        let looked_at = looked_at
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }));
        Ok(Diagnosis { findings, looked_at: looked_at.collect(), left_out })
    }

    fn print(&self, diagnosis: &Diagnosis) -> anyhow::Result<()> {
        let Diagnosis { findings, looked_at, left_out } = diagnosis;
        if self.output == Output::Json {
            let told = json!({
                "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
                "looked_at": looked_at,
                "left_out": left_out,
            });
            return print(&format!("{}\n", serde_json::to_string_pretty(&told)?));
        }
        for finding in findings {
            eprintln!("{:?}", finding.report());
        }
        print(&diagnosis.summary())
    }
}

impl Diagnosis {
    /// What was found in what, in a line, and what was left out.
    fn summary(&self) -> String {
        let found = match self.findings.len() {
            0 => "Nothing is wrong".to_owned(),
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        let mut text = format!("{found} in {}.\n", self.looked_at.join(", "));
        for left in &self.left_out {
            text.push_str(&format!("Not looked at: {left}.\n"));
        }
        text
    }
}
