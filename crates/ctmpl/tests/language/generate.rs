//! Templates from a seed: each form of the grammar, well and badly put together.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

/// Small, fast, and the same everywhere: `SplitMix64`.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// True once in `often` times.
    fn once_in(&mut self, often: usize) -> bool {
        self.below(often) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// A case as the oracle reads it.
pub(crate) fn case(seed: u64) -> Json {
    let mut generator = Generator {
        random: Random::new(seed),
        out: String::new(),
        variables: 0,
        blocks: 0,
        callable: CALLABLE.len(),
    };
    let delimiters = match generator.random.below(20) {
        0 => ("<<", ">>"),
        1 => ("[[", "]]"),
        2 => ("{%", "%}"),
        _ => ("", ""),
    };
    generator.definitions();
    generator.list(4);
    let mut text = generator.out;
    if !delimiters.0.is_empty() {
        text = text.replace("{{", delimiters.0).replace("}}", delimiters.1);
    }
    let mut bytes = text.into_bytes();
    let mut random = generator.random;
    // Some texts are broken: a byte changed, cut out, or put in.
    while random.once_in(10) && !bytes.is_empty() {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => {
                bytes.remove(at);
            }
            2 => bytes.insert(at, b"{}()|.$\"`'-=,:; \n/*\\\x00\xff\xc3"[random.below(22)]),
            _ => bytes[at] = b"{}()|.$\"`'-=,:; \n/*\\\x00\xff\xc3"[random.below(22)],
        }
    }
    let data = value(&mut random, 4, true);
    let missing = random.pick(&["", "zero", "error"]);
    let mut case = json!({
        "data": data, "left": delimiters.0, "right": delimiters.1, "missing": missing,
    });
    match String::from_utf8(bytes) {
        Ok(text) => case["template"] = Json::String(text),
        Err(broken) => case["template_hex"] = Json::String(hex::encode(broken.as_bytes())),
    }
    case
}

/// Functions that take anything, by their place in the table of `command`.
const SAFE: &[usize] = &[0, 1, 2, 2, 12, 13, 14, 15, 16, 17];

/// Numbers that are seldom written, and some that are none.
const UNUSUAL: &[&str] = &[
    "0",
    "1",
    "2",
    "-1",
    "3",
    "1.5",
    "1e3",
    "0x1F",
    "'a'",
    "'\\n'",
    "1i",
    "1+2i",
    "017",
    "0b11",
    "1_0",
    "9223372036854775807",
    "9223372036854775808",
    "1e400",
    "08",
    ".5",
    "0x1p4",
    "-0.0",
];

const FIELDS: &[&str] = &["a", "b", "c", "list", "map", "n", "s"];

/// Data that has most of the fields that templates ask for.
fn value(random: &mut Random, depth: usize, map: bool) -> Json {
    let choice = if map && depth > 0 { 0 } else { random.below(16) };
    match choice {
        0 | 1 if depth > 0 => {
            let mut fields = serde_json::Map::new();
            for field in FIELDS {
                let item = match *field {
                    _ if random.once_in(6) => value(random, depth - 1, false),
                    "list" => {
                        let count = random.below(4);
                        Json::Array((0..count).map(|_| value(random, depth - 1, false)).collect())
                    }
                    "map" => value(random, depth - 1, depth > 1),
                    "n" => json!(random.below(4)),
                    "s" => json!(random.pick(&["", "a", "hello", "ä€", "<&>"])),
                    _ if random.once_in(4) => continue,
                    _ => value(random, depth - 1, false),
                };
                fields.insert((*field).to_owned(), item);
            }
            Json::Object(fields)
        }
        2 | 3 if depth > 0 => {
            let count = random.below(4);
            Json::Array((0..count).map(|_| value(random, depth - 1, false)).collect())
        }
        4 => json!({ "$texts": ["x", "", "z"] }),
        5 => json!({ "$map": { "a": "1", "b": "two" } }),
        6 => json!({ "$number": random.pick(&["12", "-1.50", "1e3"]) }),
        7 => json!({ "$uint": random.below(5) }),
        8 => json!({ "$int64": random.below(5) }),
        9 => json!({ "$bytes": random.pick(&["ff41", "c3a4", "00"]) }),
        10 => Json::Null,
        11 => Json::Bool(random.once_in(2)),
        12 => serde_json::from_str(random.pick(&["1.5", "-0.25", "1e21", "2.0"])).unwrap(),
        13 => json!({ "$ints": [1, 2, 3] }),
        14 => serde_json::from_str(random.pick(&["0", "1", "3", "-2"])).unwrap(),
        _ => json!(random.pick(&["", "a", "hello", "ä€", "<&>", "l1\nl2", "\"q\""])),
    }
}

struct Generator {
    random: Random,
    out: String,
    variables: usize,
    blocks: usize,
    /// How many of [`CALLABLE`] may be called here.
    callable: usize,
}

/// Templates that are defined, but for some.
const CALLABLE: [&str; 2] = ["y", "x"];

impl Generator {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn definitions(&mut self) {
        // Each calls only what is defined after it: how deep Go goes is beyond its own stack.
        for (name, callable) in [("x", 1), ("y", 0)] {
            if !self.random.once_in(5) {
                let _ = write!(self.out, "{{{{define \"{name}\"}}}}");
                let variables = std::mem::take(&mut self.variables);
                self.callable = callable;
                self.list(2);
                self.variables = variables;
                self.callable = CALLABLE.len();
                self.put("{{end}}");
            }
        }
    }

    fn list(&mut self, depth: usize) {
        for _ in 0..self.random.below(4) + 1 {
            self.node(depth);
        }
    }

    fn open(&mut self) {
        let trims = self.random.once_in(8);
        self.put(if trims { "{{- " } else { "{{" });
    }

    fn close(&mut self) {
        let trims = self.random.once_in(8);
        self.put(if trims { " -}}" } else { "}}" });
    }

    fn node(&mut self, depth: usize) {
        let choice = if depth == 0 { self.random.below(6) } else { self.random.below(16) };
        match choice {
            0 | 1 => {
                let text = self.random.pick(&["text", " \n", "a b", "ä", "-", "\t", "}", "."]);
                self.put(text);
            }
            2..=4 => {
                self.open();
                self.pipeline(depth.min(3));
                self.close();
            }
            5 => {
                let comment = self.random.pick(&["{{/* c */}}", "{{- /* }} */ -}}", "{{/**/}}"]);
                self.put(comment);
            }
            6 => {
                self.open();
                let sign = if self.variables > 0 && self.random.once_in(2) { "=" } else { ":=" };
                let variable = self.variable(sign == ":=");
                let _ = write!(self.out, "{variable} {sign} ");
                self.pipeline(depth.min(3));
                self.close();
            }
            7..=9 => self.branch("if", depth),
            10 | 11 => self.branch("with", depth),
            12 | 13 => self.range(depth),
            14 => {
                self.open();
                let name = match self.callable {
                    0 => "z",
                    _ if self.random.once_in(9) => "z",
                    count => CALLABLE[self.random.below(count)],
                };
                let _ = write!(self.out, "template \"{name}\" ");
                if !self.random.once_in(3) {
                    self.pipeline(1);
                }
                self.close();
            }
            _ => {
                self.open();
                // Each block has a name of its own, but for a few.
                self.blocks += usize::from(!self.random.once_in(20));
                let _ = write!(self.out, "block \"b{}\" ", self.blocks);
                self.pipeline(1);
                self.close();
                let variables = std::mem::take(&mut self.variables);
                self.list(depth - 1);
                self.variables = variables;
                self.put("{{end}}");
            }
        }
    }

    /// A variable that is there, or a new one.
    fn variable(&mut self, new: bool) -> String {
        if new && self.variables < 5 {
            self.variables += 1;
            return format!("$v{}", self.variables);
        }
        if self.random.once_in(200) {
            return "$none".to_owned();
        }
        match self.variables {
            0 => "$".to_owned(),
            count => format!("$v{}", self.random.below(count) + 1),
        }
    }

    fn branch(&mut self, word: &str, depth: usize) {
        let outer = self.variables;
        self.open();
        self.put(word);
        self.put(" ");
        if self.random.once_in(6) {
            let variable = self.variable(true);
            let _ = write!(self.out, "{variable} := ");
        }
        self.pipeline(depth.min(2));
        self.close();
        self.list(depth - 1);
        if self.random.once_in(5) {
            let _ = write!(self.out, "{{{{else {word} ");
            self.pipeline(1);
            self.close();
            self.list(depth - 1);
        }
        if self.random.once_in(2) {
            self.put("{{else}}");
            self.list(depth - 1);
        }
        self.end();
        self.variables = outer;
    }

    fn range(&mut self, depth: usize) {
        let outer = self.variables;
        self.open();
        self.put("range ");
        match self.random.below(4) {
            0 => {
                let variable = self.variable(true);
                let _ = write!(self.out, "{variable} := ");
            }
            1 => {
                let (first, second) = (self.variable(true), self.variable(true));
                let _ = write!(self.out, "{first}, {second} := ");
            }
            _ => {}
        }
        // Not any pipeline: a large number would go on for long.
        let over = self.random.pick(&[
            ".list",
            ".map",
            ".",
            ".n",
            "3",
            "0",
            ".a",
            ".b",
            "$.list",
            "$.map",
            ".s",
            "nil",
            "$",
            ".list.a",
            ".map.list",
            "(index .list 0)",
            "(slice .list 1)",
        ]);
        self.put(over);
        self.close();
        self.list(depth - 1);
        if self.random.once_in(4) {
            let jump = self.random.pick(&["{{break}}", "{{continue}}"]);
            self.put(jump);
        }
        if self.random.once_in(3) {
            self.put("{{else}}");
            self.list(depth - 1);
        }
        self.end();
        self.variables = outer;
    }

    fn end(&mut self) {
        if !self.random.once_in(250) {
            self.open();
            self.put("end");
            self.close();
        }
    }

    fn pipeline(&mut self, depth: usize) {
        self.command(depth, false);
        while self.random.once_in(4) {
            let bar = self.random.pick(&[" | ", "|"]);
            self.put(bar);
            self.command(depth, true);
        }
    }

    fn command(&mut self, depth: usize, piped: bool) {
        let simple = !piped && self.random.below(5) < 2;
        if simple || (piped && self.random.once_in(80)) {
            return self.operand(depth);
        }
        // How many arguments a function takes, one less where one is piped in.
        let (name, least, most) = [
            ("print", 0, 3),
            ("println", 0, 2),
            ("printf", 1, 3),
            ("len", 1, 1),
            ("index", 1, 3),
            ("slice", 1, 3),
            ("eq", 2, 3),
            ("ne", 2, 2),
            ("lt", 2, 2),
            ("le", 2, 2),
            ("gt", 2, 2),
            ("ge", 2, 2),
            ("and", 1, 3),
            ("or", 1, 3),
            ("not", 1, 1),
            ("html", 1, 2),
            ("js", 1, 2),
            ("urlquery", 1, 2),
            ("call", 1, 1),
        ][if self.random.once_in(3) {
            self.random.below(19)
        } else {
            SAFE[self.random.below(SAFE.len())]
        }];
        self.put(name);
        let mut count = least + self.random.below(most - least + 1);
        if piped && count > 0 {
            count -= 1;
        }
        if self.random.once_in(60) {
            count = self.random.below(4);
        }
        for index in 0..count {
            self.put(" ");
            if name == "printf" && index == 0 && !self.random.once_in(8) {
                self.format();
            } else {
                self.operand(depth);
            }
        }
    }

    fn format(&mut self) {
        let mut format = String::new();
        for _ in 0..self.random.below(3) + 1 {
            format.push_str(self.random.pick(&["", "a", " ", "[", "é"]));
            format.push('%');
            format.push_str(self.random.pick(&[
                "", "", "", "+", "-", "#", "0", " ", "+#", "-0", "[1]", "[2]", "[9]", "*",
            ]));
            format.push_str(
                self.random.pick(&["", "", "", "5", "12", "3.2", ".0", ".1", ".*", "08"]),
            );
            format.push_str(self.random.pick(&[
                "v", "v", "s", "d", "q", "x", "X", "t", "T", "f", "g", "e", "c", "U", "o", "b",
                "O", "z", "%", "!", "",
            ]));
        }
        let _ = write!(self.out, "`{format}`");
    }

    fn operand(&mut self, depth: usize) {
        match self.random.below(if depth == 0 { 10 } else { 12 }) {
            0 => self.put("."),
            1..=3 => {
                if self.random.once_in(2) {
                    // The data's own fields, wherever the dot is.
                    self.put("$");
                }
                if self.random.once_in(4) {
                    self.put(".map");
                }
                let field = self.random.pick(FIELDS);
                let _ = write!(self.out, ".{field}");
                if self.random.once_in(12) {
                    self.put(".a");
                }
            }
            4 | 5 => {
                let variable = self.variable(false);
                self.put(&variable);
                if self.random.once_in(12) {
                    let field = self.random.pick(FIELDS);
                    let _ = write!(self.out, ".{field}");
                }
            }
            6 | 7 => {
                let unusual = self.random.once_in(12);
                let number =
                    self.random.pick(if unusual { UNUSUAL } else { &["0", "1", "2", "1.5"] });
                self.put(number);
            }
            8 => {
                let text = self.random.pick(&[
                    "\"\"",
                    "\"a\"",
                    "\"k\\n\"",
                    "`raw`",
                    "\"\\xff\"",
                    "\"ä\"",
                    "`%d`",
                    "\"\\u00e9\"",
                    "\"<b>\"",
                ]);
                let bad = self.random.once_in(80);
                self.put(if bad { "\"\\q\"" } else { text });
            }
            9 => {
                let word = if self.random.once_in(8) {
                    self.random.pick(&["nil", "print", "len"])
                } else {
                    self.random.pick(&["true", "false", "$"])
                };
                self.put(word);
            }
            _ => {
                self.put("(");
                self.pipeline(depth - 1);
                self.put(")");
                if self.random.once_in(15) {
                    let field = self.random.pick(FIELDS);
                    let _ = write!(self.out, ".{field}");
                }
            }
        }
    }
}
