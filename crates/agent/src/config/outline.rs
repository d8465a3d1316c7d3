//! A configuration file by its places: for checks that look at it and do not run it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_hcl::{Block, Body, Position, Problems, Settings};

use super::{EnvTemplateConfig, MethodConfig, SinkConfig, TemplateConfig, value};

/// What stands in one file, as far as it can be understood.
#[derive(Debug)]
pub struct Outline {
    /// Whether the file is an agent's on its own, and not a part of one that others complete.
    pub is_whole: bool,
    /// How the agent logs in.
    pub method: Option<MethodConfig>,
    /// Where it writes its token.
    pub sinks: Vec<Placed<SinkConfig>>,
    /// Its files.
    pub templates: Vec<Placed<TemplateConfig>>,
    /// Its variables.
    pub env_templates: Vec<Placed<EnvTemplateConfig>>,
    /// Where its files really lie, where the operator chose that.
    pub generation_dir: Option<PathBuf>,
}

/// A block and its places.
#[derive(Debug)]
pub struct Placed<T> {
    /// What it says.
    pub value: T,
    /// Where it starts.
    pub position: Position,
    /// Where the values of its settings start, those of the block `config` in it among them.
    pub settings: BTreeMap<String, Position>,
}

impl<T> Placed<T> {
    /// Where the value of a setting starts; the block, where it has no such setting.
    pub fn at(&self, key: &str) -> Position {
        self.settings.get(key).copied().unwrap_or(self.position)
    }
}

/// Blocks by which a file is told to be an agent's.
const OF_AGENTS: [&str; 6] =
    ["auto_auth", "template", "template_config", "env_template", "api_proxy", "exec"];

/// Whether a file is an agent's configuration, or a part of one, and not a server's or a policy.
pub fn is_agents(body: &Body) -> bool {
    body.items.iter().any(|item| OF_AGENTS.contains(&item.name()))
}

impl Outline {
    /// Reads a file's body. What is wrong in it is [`load`](super::load)'s to say.
    pub fn of(body: &Body) -> Self {
        let mut unheard = Problems::default();
        let mut settings = Settings::new(body, &mut unheard);
        let auto_auth = settings.blocks("auto_auth");
        let mut sinks = Vec::new();
        let mut method = None;
        for block in &auto_auth {
            let mut settings = block.settings(settings.problems());
            method = value::block(&mut settings, "method", MethodConfig::read).flatten();
            sinks.extend(placed(&mut settings, "sink", SinkConfig::read));
        }
        let config = value::last_block(&mut settings, "template_config", |block, problems| {
            value::path(&mut block.settings(problems), "generation_dir")
        });
        Self {
            is_whole: !auto_auth.is_empty(),
            method,
            sinks,
            templates: placed(&mut settings, "template", TemplateConfig::read),
            env_templates: placed(&mut settings, "env_template", EnvTemplateConfig::read),
            generation_dir: config.flatten(),
        }
    }
}

fn placed<T>(
    settings: &mut Settings<'_, '_>,
    key: &'static str,
    read: impl Fn(&Block<'_>, &mut Problems) -> Option<T>,
) -> Vec<Placed<T>> {
    let blocks = value::blocks(settings, key, |block, problems| {
        let mut settings = BTreeMap::new();
        places(block.body, &mut settings);
        Some(Placed { value: read(block, problems)?, position: block.position, settings })
    });
    blocks.into_iter().flatten().collect()
}

fn places(body: &Body, found: &mut BTreeMap<String, Position>) {
    for item in &body.items {
        found.insert(item.name().to_owned(), item.value.position);
        if let ("config", Some(config)) = (item.name(), item.value.as_object()) {
            places(config, found);
        }
    }
}
