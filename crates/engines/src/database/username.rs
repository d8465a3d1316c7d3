//! The names of database users.

use holdfast_logical::Context;

use super::template::{Data, Template, TemplateError, cut};

/// The template where the operator gives none: `v-token-web-<20 random>-<unix time>`.
const DEFAULT_TEMPLATE: &str = "{{ printf \"v-%s-%s-%s-%s\" (.DisplayName | truncate 8) \
     (.RoleName | truncate 8) (random 20) (unix_time) | truncate 63 }}";

/// What PostgreSQL keeps of a name, in bytes. It cuts longer ones silently, and would then know
/// the user by another name than the lease does.
const MAX_LENGTH: usize = 63;

/// Why no name came of a template.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsernameError {
    /// The template is no good.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It gave nothing.
    #[error("the username template gave an empty name")]
    Empty,
    /// It gave a character that could leave the quotes that the name stands in.
    #[error("the username template gave a name with {0:?}, which statements cannot quote safely")]
    Character(char),
}

/// Makes names by one template.
#[derive(Debug)]
pub(crate) struct UsernameTemplate(Template);

impl UsernameTemplate {
    /// Reads `text`, or the default where it is empty.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = if text.is_empty() { DEFAULT_TEMPLATE } else { text };
        Template::parse(text).map(Self)
    }

    /// A name for a user of `role_name`, asked for by a token called `display_name`.
    ///
    /// Names stand between quotes in the operator's statements, so nobody's display name may hold
    /// a character that ends the quotes: such characters become `_`.
    pub(crate) fn generate(
        &self,
        context: &Context,
        display_name: &str,
        role_name: &str,
    ) -> Result<String, UsernameError> {
        let data = Data {
            display_name: &harmless(display_name),
            role_name: &harmless(role_name),
            now: context.clock.now(),
            random: &*context.random,
        };
        let name = self.0.apply(&data)?;
        let name = cut(&name, MAX_LENGTH);
        if name.is_empty() {
            return Err(UsernameError::Empty);
        }
        match name.chars().find(|character| !is_harmless(*character)) {
            Some(character) => Err(UsernameError::Character(character)),
            None => Ok(name.to_owned()),
        }
    }
}

fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { '_' }).collect()
}

/// Whether a character can end neither a word nor any of SQL's quotes: `"`, `'`, `$$`.
fn is_harmless(character: char) -> bool {
    character.is_alphanumeric() || "-_.:/@+=~#".contains(character)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_barrier::{MemoryEntries, View};
    use holdfast_logical::MountInfo;
    use holdfast_testkit::FakeClock;
    use holdfast_types::SystemRandom;

    use super::*;

    fn name(template: &str, display_name: &str) -> Result<String, UsernameError> {
        let context = Context {
            storage: View::new(Arc::new(MemoryEntries::default()), ""),
            clock: Arc::new(FakeClock::at(1_795_346_236)),
            random: Arc::new(SystemRandom),
            passwords: Arc::new(holdfast_logical::testing::OnePassword),
            mount: Arc::new(MountInfo::default()),
        };
        let template = UsernameTemplate::parse(template)?;
        template.generate(&context, display_name, "backend-role")
    }

    #[test]
    fn the_default_is_openbaos() {
        let name = name("", "token-of-somebody").unwrap();
        let (start, rest) = name.split_at("v-token-of-backend--".len());
        assert_eq!(start, "v-token-of-backend--");
        let (random, end) = rest.split_at(20);
        assert!(random.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        assert_eq!(end, "-1795346236");
    }

    #[test]
    fn names_are_as_long_as_postgresql_keeps_them() {
        assert_eq!(name("{{random 101}}", "").unwrap().len(), 63);
        assert_eq!(name("{{.DisplayName}}", &"ä".repeat(40)).unwrap(), "ä".repeat(31));
    }

    #[test]
    fn no_name_leaves_its_quotes() {
        assert_eq!(name("{{.DisplayName}}", "o\"b'r\\i$e;n\n").unwrap(), "o_b_r_i_e_n_");
        assert!(matches!(name("a\"b", ""), Err(UsernameError::Character('"'))));
        assert!(matches!(name("{{.DisplayName}}", ""), Err(UsernameError::Empty)));
        assert!(matches!(name("{{random 0}}", "x"), Err(UsernameError::Empty)));
    }
}
