//! One configuration file as the operator wrote it, and what all of them together mean.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdfast_hcl::{Problems, Settings};

use super::log::LogFile;
use super::proxy::{self, ApiProxyFile, CacheFile};
use super::server::ServerFile;
use super::{
    AgentConfig, ApiProxyConfig, AutoAuthConfig, AutoAuthToken, ConfigError, EnvTemplateConfig,
    ExecConfig, ListenerConfig, ListenerRole, Overrides, TemplateConfig, TemplatingConfig, value,
};

/// The parts of an agent whose connections an operator may tell not to linger.
const SUBSYSTEMS: [&str; 5] = ["auto-auth", "caching", "proxying", "templating", ""];

/// The settings of one file, or of several laid over each other. An inner `None` stands for a
/// block that is there, and in which something is wrong that was reported.
#[derive(Debug, Default)]
pub(super) struct AgentFile {
    server: Option<ServerFile>,
    auto_auth: Option<Option<AutoAuthConfig>>,
    templates: Vec<Option<TemplateConfig>>,
    templating: Option<TemplatingConfig>,
    env_templates: Vec<Option<EnvTemplateConfig>>,
    exec: Option<Option<ExecConfig>>,
    cache: Option<CacheFile>,
    api_proxy: Option<ApiProxyFile>,
    listeners: Vec<Option<ListenerConfig>>,
    exit_after_auth: bool,
    pid_file: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    log: LogFile,
    /// Where figures would be sent to.
    telemetry: Vec<&'static str>,
}

impl AgentFile {
    /// Reads a file's text. What is wrong goes to `problems`; what is right is kept, so that later
    /// checks find the rest. None where it has no sense at all.
    pub(super) fn parse(file: &Path, text: &str, problems: &mut ConfigError) -> Option<Self> {
        let body = match holdfast_hcl::parse(text) {
            Ok(body) => body,
            Err(error) => {
                problems.in_file(file, error.position, error.message);
                return None;
            }
        };
        let mut found = Problems::default();
        let this = Self::read(Settings::new(&body, &mut found));
        for problem in found.0 {
            let message = format!("{}: {}", problem.key, problem.message);
            problems.in_file(file, Some(problem.position), message);
        }
        Some(this)
    }

    fn read(mut settings: Settings<'_, '_>) -> Self {
        // Of interest to other programs that read the same files.
        for accepted in ["cluster_name", "disable_mlock", "log_requests_level"] {
            settings.ignore(accepted);
        }
        for key in ["disable_idle_connections", "disable_keep_alives"] {
            let subsystems = settings.strings(key).unwrap_or_default();
            if subsystems.iter().any(|name| !SUBSYSTEMS.contains(&name.as_str())) {
                let text = "expected auto-auth, caching, proxying and templating, or some of them";
                settings.refuse(key, text);
            }
        }
        let this = Self {
            server: value::block(&mut settings, "vault", ServerFile::read),
            auto_auth: value::block(&mut settings, "auto_auth", AutoAuthConfig::read),
            templates: value::blocks(&mut settings, "template", TemplateConfig::read),
            templating: value::block(&mut settings, "template_config", TemplatingConfig::read),
            env_templates: value::blocks(&mut settings, "env_template", EnvTemplateConfig::read),
            exec: value::block(&mut settings, "exec", ExecConfig::read),
            cache: value::block(&mut settings, "cache", CacheFile::read),
            api_proxy: value::block(&mut settings, "api_proxy", ApiProxyFile::read),
            listeners: value::blocks(&mut settings, "listener", ListenerConfig::read),
            exit_after_auth: settings.bool("exit_after_auth").unwrap_or(false),
            pid_file: value::path(&mut settings, "pid_file"),
            state_dir: value::path(&mut settings, "state_dir"),
            log: LogFile::read(&mut settings),
            telemetry: value::block(&mut settings, "telemetry", proxy::read_telemetry)
                .unwrap_or_default(),
        };
        settings.finish();
        this
    }

    /// Lays `later` over this one: as in the stock agent, blocks as a whole.
    pub(super) fn merge(&mut self, later: Self) {
        fn over<T>(earlier: &mut Option<T>, later: Option<T>) {
            if later.is_some() {
                *earlier = later;
            }
        }
        over(&mut self.server, later.server);
        over(&mut self.auto_auth, later.auto_auth);
        self.templates.extend(later.templates);
        over(&mut self.templating, later.templating);
        self.env_templates.extend(later.env_templates);
        over(&mut self.exec, later.exec);
        over(&mut self.cache, later.cache);
        over(&mut self.api_proxy, later.api_proxy);
        self.listeners.extend(later.listeners);
        self.exit_after_auth |= later.exit_after_auth;
        over(&mut self.pid_file, later.pid_file);
        over(&mut self.state_dir, later.state_dir);
        self.log.merge(later.log);
        self.telemetry.extend(later.telemetry);
    }

    /// Fills in what was left out and checks what several settings mean together. None where
    /// something is missing that has no default.
    pub(super) fn resolve(
        self,
        overrides: &Overrides,
        problems: &mut ConfigError,
    ) -> Option<AgentConfig> {
        self.check(problems);
        let mut warnings = Vec::new();
        self.warn(&mut warnings);
        let log = self.log.resolve(overrides, problems, &mut warnings);
        let auto_auth = self.auto_auth.flatten();
        let namespace = auto_auth.as_ref().and_then(|auth| auth.method.namespace.as_deref());
        let server = self.server.unwrap_or_default().resolve(overrides, namespace, problems);
        let token = self.api_proxy.and_then(|proxy| proxy.token);
        let token = token.or(self.cache.as_ref().and_then(|cache| cache.token));
        Some(AgentConfig {
            server: server?,
            auto_auth,
            templates: self.templates.into_iter().flatten().collect(),
            templating: self.templating.unwrap_or_default(),
            env_templates: self.env_templates.into_iter().flatten().collect(),
            exec: self.exec.flatten(),
            cache: self.cache.map(|cache| cache.config),
            api_proxy: ApiProxyConfig { use_auto_auth_token: token.unwrap_or_default() },
            listeners: self.listeners.into_iter().flatten().collect(),
            exit_after_auth: overrides.exit_after_auth.unwrap_or(self.exit_after_auth),
            pid_file: self.pid_file,
            log,
            state_dir: self.state_dir,
            warnings,
            read_from: Vec::new(),
        })
    }

    fn check(&self, problems: &mut ConfigError) {
        let renders = !self.templates.is_empty() || !self.env_templates.is_empty();
        if self.auto_auth.is_none() && self.cache.is_none() && self.listeners.is_empty() {
            problems.add("no auto_auth, cache or listener block: there is nothing to do");
        }
        if self.cache.is_some() && self.listeners.is_empty() && !renders {
            problems.add("cache: needs a listener or a template");
        }
        if self.api_proxy.is_some() && self.listeners.is_empty() {
            problems.add("api_proxy: needs a listener");
        }
        self.check_token(problems);
        let proxied = self.api_proxy.as_ref().map(|proxy| proxy.token);
        let proxied = proxied.or(self.cache.as_ref().map(|cache| cache.token)).flatten();
        if let Some(Some(auth)) = &self.auto_auth
            && auth.sinks.is_empty()
            && !renders
            && proxied.unwrap_or_default() == AutoAuthToken::Never
        {
            problems.add(
                "auto_auth: nobody would get the token: add a sink, a template, or \
                 api_proxy.use_auto_auth_token = true",
            );
        }
        if renders && self.auto_auth.is_none() {
            problems.add("template: needs auto_auth, whose token reads the secrets");
        }
        if self.exec.is_some() && !renders {
            problems.add("exec: needs an env_template or a template");
        }
        if !self.env_templates.is_empty() && self.exec.is_none() {
            problems.add("env_template: needs exec, the process whose environment it is for");
        }
        let mut names = BTreeSet::new();
        for template in self.env_templates.iter().flatten() {
            if !names.insert(&template.variable) {
                problems.add(format!("env_template.{}: named twice", template.variable));
            }
        }
        let mut files = BTreeSet::new();
        for template in self.templates.iter().flatten() {
            if !files.insert(&template.destination) {
                let file = template.destination.display();
                problems.add(format!("template.destination: two templates write {file}"));
            }
        }
    }

    /// What `use_auto_auth_token` needs.
    fn check_token(&self, problems: &mut ConfigError) {
        let old = self.cache.as_ref().and_then(|cache| cache.token);
        let new = self.api_proxy.and_then(|proxy| proxy.token);
        if old.is_some() && new.is_some() {
            problems.add("cache.use_auto_auth_token: stands in api_proxy too; remove it here");
        }
        if matches!(new.or(old), None | Some(AutoAuthToken::Never)) {
            return;
        }
        let key = if new.is_some() { "api_proxy" } else { "cache" };
        match &self.auto_auth {
            None => problems.add(format!("{key}.use_auto_auth_token: needs auto_auth")),
            Some(Some(auth)) if auth.method.wrap_ttl.is_some() => problems.add(format!(
                "{key}.use_auto_auth_token: the token comes wrapped (auto_auth.method.wrap_ttl)"
            )),
            Some(_) => {}
        }
    }

    fn warn(&self, warnings: &mut Vec<String>) {
        for key in self.cache.iter().flat_map(|cache| &cache.without_effect) {
            warnings.push(format!(
                "cache.{key} has no effect: answers are kept in memory while their lease lasts"
            ));
        }
        for key in &self.telemetry {
            warnings.push(format!(
                "telemetry.{key} has no effect: figures are read at /agent/v1/metrics"
            ));
        }
        for listener in self.listeners.iter().flatten().filter(|it| it.is_overheard()) {
            warnings.push(format!(
                "tokens and secrets cross the network in clear text at {:?}",
                listener.socket
            ));
        }
        if self.listeners.iter().flatten().any(|it| it.role == ListenerRole::Default)
            && self.api_proxy.and_then(|proxy| proxy.token) == Some(AutoAuthToken::Always)
        {
            warnings.push(
                "api_proxy.use_auto_auth_token = \"force\": whoever reaches a listener acts with \
                 the agent's token, whatever token they bring"
                    .to_owned(),
            );
        }
    }
}
