//! One value by one verb.

use super::number;
use crate::error::Exceeded;
use crate::run::VALUE_DEPTH;
use crate::text::quote;
use crate::value::{Kind, Object, Type};
use crate::{Value, format::time};

/// Flags of one directive.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) sharp: bool,
    pub(super) zero: bool,
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) space: bool,
    /// `%#v`
    pub(super) go_syntax: bool,
    /// `%+v`
    pub(super) names: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// Text under way: it takes no more than its limit, and remembers that there was more.
pub(super) struct Printer {
    out: Vec<u8>,
    limit: usize,
    exceeded: Option<Exceeded>,
    pub(super) flags: Flags,
    /// Within `%!d(string=…)`, where methods are not called.
    erroring: bool,
}

impl Printer {
    pub(super) fn new(limit: usize) -> Self {
        Self { out: Vec::new(), limit, exceeded: None, flags: Flags::default(), erroring: false }
    }

    pub(super) fn finish(self) -> (Vec<u8>, Option<Exceeded>) {
        (self.out, self.exceeded)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.exceeded.is_some() {
            return;
        }
        if bytes.len() > self.limit - self.out.len() {
            self.exceeded = Some(Exceeded::Output);
            return;
        }
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn fill(&mut self, byte: u8, count: usize) {
        if self.exceeded.is_some() {
            return;
        }
        if count > self.limit - self.out.len() {
            self.exceeded = Some(Exceeded::Output);
            return;
        }
        self.out.resize(self.out.len() + count, byte);
    }

    /// A value as an argument of a directive.
    pub(super) fn argument(&mut self, value: &Value, verb: char) {
        if is_nothing(value) {
            match verb {
                'T' | 'v' => self.pad(b"<nil>"),
                _ => self.bad_verb(value, verb),
            }
            return;
        }
        match verb {
            'T' => {
                let name = value.type_of().to_string();
                self.string(name.as_bytes());
            }
            'p' => self.pointer(value, verb),
            _ => self.value(value, verb, 0),
        }
    }

    /// A value, within others if `depth` is not 0.
    fn value(&mut self, value: &Value, verb: char, depth: usize) {
        if depth > VALUE_DEPTH {
            self.exceeded = Some(Exceeded::Depth);
        }
        if self.exceeded.is_some() || self.by_method(value, verb) {
            return;
        }
        match &value.kind {
            Kind::Nil | Kind::Null(Type::Any) => {
                if self.flags.go_syntax {
                    self.write(b"interface {}(nil)");
                } else {
                    self.write(b"<nil>");
                }
            }
            Kind::Bool(truth) => match verb {
                't' | 'v' => self.pad(if *truth { b"true" } else { b"false" }),
                _ => self.bad_verb(value, verb),
            },
            Kind::Int(number, _) => {
                if !number::integer(self, number.unsigned_abs(), *number < 0, true, verb) {
                    self.bad_verb(value, verb);
                }
            }
            Kind::Uint(number, _) => {
                if !number::integer(self, *number, false, false, verb) {
                    self.bad_verb(value, verb);
                }
            }
            Kind::Float(number) => {
                if !number::float(self, *number, verb) {
                    self.bad_verb(value, verb);
                }
            }
            Kind::Complex(real, imaginary) => {
                if !number::complex(self, *real, *imaginary, verb) {
                    self.bad_verb(value, verb);
                }
            }
            Kind::Text(text, _) => {
                if !self.text(text.expose(), verb) {
                    self.bad_verb(value, verb);
                }
            }
            Kind::List(list) => {
                self.open(value, b"[");
                for (index, item) in list.items().iter().enumerate() {
                    self.separate(index);
                    self.value(item, verb, depth + 1);
                }
                self.close(b"]");
            }
            Kind::Map(map) => {
                self.open(value, b"map[");
                for (index, (key, item)) in map.entries().iter().enumerate() {
                    self.separate(index);
                    self.value(&key.value(), verb, depth + 1);
                    self.write(b":");
                    self.value(item, verb, depth + 1);
                }
                self.close(b"]");
            }
            Kind::Object(object) if depth == 0 => self.object(object, verb),
            Kind::Object(_) | Kind::Null(_) | Kind::Channel(..) => self.pointer(value, verb),
            Kind::Time(_) => {
                // Its fields are Go's own business; what a reader wants is the time.
                let text = time::string(value);
                self.text(text.as_bytes(), 's');
            }
        }
    }

    /// Values with a text of their own: numbers of JSON, durations, times.
    fn by_method(&mut self, value: &Value, verb: char) -> bool {
        if self.erroring {
            return false;
        }
        if verb == 'w' {
            self.bad_verb(value, verb);
            return true;
        }
        if self.flags.go_syntax || !matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
            return false;
        }
        match &value.kind {
            Kind::Text(text, Type::Number) => self.text(text.expose(), verb),
            Kind::Int(_, Type::Duration) | Kind::Time(_) => {
                let text = time::string(value);
                self.text(text.as_bytes(), verb)
            }
            Kind::Object(object) if object.name() == "semver.Version" => {
                let text = object.field("String").map(Value::bytes).unwrap_or_default();
                self.text(text, verb)
            }
            _ => false,
        }
    }

    fn open(&mut self, value: &Value, plain: &[u8]) {
        if self.flags.go_syntax {
            let name = value.type_of().to_string();
            self.write(name.as_bytes());
            self.write(b"{");
        } else {
            self.write(plain);
        }
    }

    fn close(&mut self, plain: &[u8]) {
        self.write(if self.flags.go_syntax { b"}" } else { plain });
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.write(if self.flags.go_syntax { b", " } else { b" " });
        }
    }

    fn object(&mut self, object: &Object, verb: char) {
        self.write(b"&");
        if self.flags.go_syntax {
            self.write(object.name().as_bytes());
        }
        self.write(b"{");
        for (index, (name, field)) in object.fields().iter().enumerate() {
            self.separate(index);
            if self.flags.names || self.flags.go_syntax {
                self.write(name.as_bytes());
                self.write(b":");
            }
            self.value(field, verb, 2);
        }
        self.write(b"}");
    }

    /// A pointer. There are no addresses: one stands for all.
    fn pointer(&mut self, value: &Value, verb: char) {
        const ADDRESS: u64 = 0xc0_0000_0000;
        let address = match value.kind {
            Kind::Null(_) => 0,
            Kind::Object(_) | Kind::Channel(..) | Kind::Map(_) | Kind::List(_) => ADDRESS,
            _ => return self.bad_verb(value, verb),
        };
        match verb {
            'v' if self.flags.go_syntax => {
                let name = value.type_of();
                let shown = if address == 0 { "nil".to_owned() } else { format!("{address:#x}") };
                self.write(format!("({name})({shown})").as_bytes());
            }
            'v' if address == 0 => self.pad(b"<nil>"),
            'v' | 'p' => {
                let sharp = self.flags.sharp;
                self.flags.sharp = !sharp;
                number::integer(self, address, false, false, 'x');
                self.flags.sharp = sharp;
            }
            'b' | 'o' | 'd' | 'x' | 'X' => {
                number::integer(self, address, false, false, verb);
            }
            _ => self.bad_verb(value, verb),
        }
    }

    /// `%!d(string=hi)`: a verb that the value has no text for.
    fn bad_verb(&mut self, value: &Value, verb: char) {
        self.erroring = true;
        self.write(b"%!");
        self.write(verb.encode_utf8(&mut [0; 4]).as_bytes());
        self.write(b"(");
        if is_nothing(value) {
            self.write(b"<nil>");
        } else {
            self.typed(value);
        }
        self.write(b")");
        self.erroring = false;
    }

    /// `string=hi`
    pub(super) fn typed(&mut self, value: &Value) {
        let name = value.type_of().to_string();
        self.write(name.as_bytes());
        self.write(b"=");
        self.argument(value, 'v');
    }

    /// Text by one of its verbs; false if it is none.
    fn text(&mut self, text: &[u8], verb: char) -> bool {
        match verb {
            'v' if self.flags.go_syntax => self.quoted(text),
            'v' | 's' => self.string(text),
            'x' => self.hexadecimal(text, false),
            'X' => self.hexadecimal(text, true),
            'q' => self.quoted(text),
            _ => return false,
        }
        true
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = self.truncate(text);
        if self.flags.sharp && quote::can_backquote(text) {
            let text = [b"`", text, b"`"].concat();
            self.pad(&text);
        } else if self.flags.plus {
            self.pad(quote::quote_ascii(text).as_bytes());
        } else {
            self.pad(quote::quote(text).as_bytes());
        }
    }
}

/// Nil of no type.
fn is_nothing(value: &Value) -> bool {
    matches!(value.kind, Kind::Nil | Kind::Null(Type::Any))
}
