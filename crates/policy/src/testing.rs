//! Random policies and paths that collide with one another a great deal: few segment names, many
//! wildcards. The same seed gives the same cases for ever.

use crate::Capability;

/// Some policies of one token, and paths to ask about.
#[derive(Debug, Clone)]
pub struct Case {
    /// The policies' texts.
    pub policies: Vec<String>,
    /// The paths.
    pub paths: Vec<String>,
}

/// A generator of cases.
pub struct Generator(u64);

impl Generator {
    /// One that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next case.
    pub fn case(&mut self) -> Case {
        let policies = (0..1 + self.below(3)).map(|_| self.policy()).collect();
        let paths = (0..12).map(|_| self.path()).collect();
        Case { policies, paths }
    }

    fn policy(&mut self) -> String {
        (0..1 + self.below(6))
            .map(|_| {
                let (pattern, body) = (self.pattern(), self.body());
                format!("path \"{pattern}\" {{ {body} }}\n")
            })
            .collect()
    }

    fn body(&mut self) -> String {
        if self.below(12) == 0 {
            let old = self.pick(&["read", "write", "sudo", "deny"]);
            return format!("policy = \"{old}\"");
        }
        let names: Vec<_> = (0..self.below(4))
            .map(|_| {
                // Denials win over the rest, so they are kept rare.
                let mut capability = Capability::ALL[self.below(Capability::ALL.len())];
                if capability == Capability::Deny && self.below(2) == 0 {
                    capability = Capability::List;
                }
                format!("\"{}\"", capability.as_str())
            })
            .collect();
        format!("capabilities = [{}]", names.join(", "))
    }

    fn pattern(&mut self) -> String {
        let mut segments = Vec::new();
        for _ in 0..1 + self.below(4) {
            segments
                .push(self.pick(&["a", "a", "b", "ab", "abc", "+", "+", "", "+a", "a+", "b*a"]));
        }
        let text = segments.join("/");
        let end = match self.below(6) {
            0 | 1 if !text.ends_with('+') => "*",
            2 => "/*",
            3 => "/",
            _ => "",
        };
        let start = if self.below(20) == 0 { "/" } else { "" };
        format!("{start}{text}{end}")
    }

    fn path(&mut self) -> String {
        // The server takes no empty path.
        let mut segments = vec![self.pick(&["a", "a", "a", "b", "ab", "abc", "+", "+a", "c"])];
        for _ in 0..self.below(4) {
            segments.push(self.pick(&["a", "a", "a", "b", "ab", "abc", "", "+", "+a", "c", "b*a"]));
        }
        let (start, end) = (self.below(16) == 0, self.below(4) == 0);
        let slash = |there| if there { "/" } else { "" };
        format!("{}{}{}", slash(start), segments.join("/"), slash(end))
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}
