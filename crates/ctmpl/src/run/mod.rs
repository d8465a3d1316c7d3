//! Rendering: walks a template's tree and writes what comes of it.

mod budget;
mod call;
mod evaluate;
mod field;
mod item;
mod needs;

use holdfast_types::SecretBytes;

pub(crate) use budget::{Budget, VALUE_DEPTH};
pub(crate) use field::zero;
pub(crate) use item::Item;

use crate::error::{Exceeded, Fault};
use crate::language::ast::{Branch, List, Node, Pipe, Place};
use crate::output::Sink;
use crate::text::quote;
use crate::value::{Entries, Key, Kind, Type};
use crate::{Error, ErrorKind, Limits, Origins, Output, Source, Template, Value, format, redact};

/// One rendering under way.
pub(crate) struct Run<'a> {
    pub(crate) template: &'a Template,
    pub(crate) source: &'a dyn Source,
    pub(crate) budget: Budget<'a>,
    pub(crate) gathered: needs::Gathered,
    /// What `scratch` holds.
    pub(crate) scratch: Value,
    sink: Sink,
    depth: usize,
    /// Blocks, pipelines and templates within each other: what the stack must hold.
    nesting: usize,
    max_depth: usize,
    /// The name of the template that is executed.
    name: &'a str,
    /// The node that is evaluated.
    place: Option<Place<'a>>,
    variables: Vec<(&'a str, Item)>,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Nested blocks and pipelines for one level of templates.
const NESTING: usize = 10;

/// Renders `template`.
pub(crate) fn render<'a>(
    template: &'a Template,
    source: &'a dyn Source,
    limits: &Limits,
    data: Value,
) -> Result<Output, Error> {
    let mut run = Run {
        template,
        source,
        budget: Budget::new(limits, source),
        gathered: needs::Gathered::new(limits.needs),
        scratch: Value::dictionary(Entries::new()),
        sink: Sink::new(limits.output),
        depth: 0,
        nesting: 0,
        max_depth: limits.depth,
        name: template.name(),
        place: None,
        variables: Vec::new(),
    };
    if let Some(list) = template.tree(template.name()) {
        run.execute(template.name(), list, &Item::plain(data))?;
    }
    let (bytes, spans) = run.sink.finish();
    Ok(run.gathered.output(SecretBytes::new(bytes), spans))
}

impl<'a> Run<'a> {
    /// Executes a tree: with `dot`, and no variables but `$`.
    fn execute(&mut self, name: &'a str, list: &'a List, dot: &Item) -> Result<(), Error> {
        let outer_name = std::mem::replace(&mut self.name, name);
        let outer = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let place = self.place;
        let result = self.walk(dot, list);
        self.place = place;
        self.variables = outer;
        self.name = outer_name;
        result.map(|_| ())
    }

    /// Executes a template of this name into bytes of their own.
    pub(crate) fn execute_apart(&mut self, name: &str, dot: Value) -> Result<Value, Fault> {
        let template = self.template;
        let Some((name, list)) = template.named(name) else {
            let (wanted, own) =
                (quote::quote(name.as_bytes()), quote::quote(template.name().as_bytes()));
            let message = format!("template: no template {wanted} associated with template {own}");
            return Err(Fault::new(message));
        };
        if self.depth >= self.max_depth {
            return Err(Exceeded::Depth.into());
        }
        let outer = std::mem::replace(&mut self.sink, Sink::new(self.budget.size_limit()));
        self.depth += 1;
        let result = self.execute(name, list, &Item::plain(dot));
        self.depth -= 1;
        let (bytes, spans) = std::mem::replace(&mut self.sink, outer).finish();
        result.map_err(Fault::Inner)?;
        let mut origins = Origins::NONE;
        for span in &spans {
            origins.extend(&span.origins);
        }
        Ok(Value::text(bytes).with_origins(origins))
    }

    /// An error at the node under way, in Go's words.
    fn error(&self, message: impl AsRef<str>) -> Error {
        self.error_of(ErrorKind::Execution, message.as_ref())
    }

    fn error_of(&self, kind: ErrorKind, message: &str) -> Error {
        let Some(place) = self.place else {
            return Error::plain(kind, format!("template: {}: {message}", self.name));
        };
        let (left, right) = self.template.delimiters();
        let context = place.show(left, right);
        let position = self.template.position(place.at());
        Error::execution(kind, self.template.name(), position, self.name, &context, message)
    }

    fn limit(&self, limit: Exceeded) -> Error {
        self.error_of(ErrorKind::Limit(limit), &limit.to_string())
    }

    fn charge(&mut self, steps: u64) -> Result<(), Error> {
        self.budget.charge(steps).map_err(|limit| self.limit(limit))
    }

    /// Goes one level deeper into the tree.
    fn descend<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.nesting >= self.max_depth.saturating_mul(NESTING) {
            return Err(self.limit(Exceeded::Depth));
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    fn walk(&mut self, dot: &Item, list: &'a List) -> Result<Flow, Error> {
        self.descend(|run| {
            for node in &list.nodes {
                let flow = run.node(dot, node)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
            }
            Ok(Flow::Next)
        })
    }

    fn node(&mut self, dot: &Item, node: &'a Node) -> Result<Flow, Error> {
        self.charge(1)?;
        match node {
            Node::Text(text) => {
                self.sink.write(text, &Origins::NONE).map_err(|limit| self.limit(limit))?;
            }
            Node::Action { at, pipe } => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.place = Some(Place::Action(*at, pipe));
                    self.print(&value)?;
                }
            }
            Node::If(branch) => return self.branch(dot, branch, false),
            Node::With(branch) => return self.branch(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template { at, name, pipe } => {
                self.call_template(dot, *at, name, pipe.as_ref())?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// Writes what an action's pipeline came to.
    fn print(&mut self, item: &Item) -> Result<(), Error> {
        let value = &item.value;
        let written = match &value.kind {
            Kind::Nil if !item.boxed => self.sink.write(b"<no value>", &value.origins),
            Kind::Text(text, _) => self.sink.write(text.expose(), &value.origins),
            Kind::Channel(..) => {
                let Some(place) = self.place else { return Ok(()) };
                let (left, right) = self.template.delimiters();
                let (shown, kind) = (place.show(left, right), value.type_of());
                return Err(self.error(format!("can't print {shown} of type {kind}")));
            }
            _ => format::print(&mut self.budget, std::slice::from_ref(value)).and_then(|text| {
                let origins = self.budget.origins_of(value)?;
                self.sink.write(text.bytes(), &origins)
            }),
        };
        written.map_err(|limit| self.limit(limit))
    }

    fn branch(&mut self, dot: &Item, branch: &'a Branch, with: bool) -> Result<Flow, Error> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = if value.value.is_true() {
            self.walk(if with { &value } else { dot }, &branch.list)?
        } else if let Some(list) = &branch.otherwise {
            self.walk(dot, list)?
        } else {
            Flow::Next
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Item, branch: &'a Branch) -> Result<Flow, Error> {
        let mark = self.variables.len();
        let over = self.pipeline(dot, &branch.pipe)?.value;
        let mut turns = Turns { run: self, branch, any: false, ended: false };
        match &over.kind {
            Kind::Nil => {}
            Kind::Int(..) | Kind::Uint(..) => {
                if branch.pipe.variables.len() > 1 {
                    let shown = redact::shown(&over);
                    return Err(turns.run.error(format!(
                        "can't use {shown} to iterate over more than one variable"
                    )));
                }
                turns.integers(&over)?;
            }
            Kind::Channel(from, to) => {
                let count = to.saturating_sub(*from).max(0);
                for index in 0..count {
                    let item: Value = Kind::Int(from.wrapping_add(index), Type::Int64).into();
                    turns.turn(Item::plain(Value::int(index)), &Item::plain(item))?;
                    if turns.ended {
                        break;
                    }
                }
            }
            Kind::List(list) => {
                let boxed = *list.item_type() == Type::Any;
                for (index, item) in (0_i64..).zip(list.items()) {
                    let item = Item { value: item.clone(), boxed };
                    turns.turn(Item::plain(Value::int(index)), &item)?;
                    if turns.ended {
                        break;
                    }
                }
            }
            Kind::Map(map) => {
                let boxed = *map.value_type() == Type::Any;
                let keys_boxed = *map.key_type() == Type::Any;
                // A copy: the map may be changed while it is ranged over.
                let entries: Vec<(Key, Value)> =
                    map.entries().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                for (key, value) in entries {
                    let key = key.value().with_origins(over.origins.clone());
                    let key = Item { value: key, boxed: keys_boxed };
                    turns.turn(key, &Item { value, boxed })?;
                    if turns.ended {
                        break;
                    }
                }
            }
            _ => {
                let shown = redact::shown(&over);
                return Err(turns.run.error(format!("range can't iterate over {shown}")));
            }
        }
        let any = turns.any;
        let mut flow = Flow::Next;
        if let Some(list) = &branch.otherwise
            && !any
        {
            flow = self.walk(dot, list)?;
        }
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn call_template(
        &mut self,
        dot: &Item,
        at: usize,
        name: &'a str,
        pipe: Option<&'a Pipe>,
    ) -> Result<(), Error> {
        self.place = Some(Place::Template(at, name, pipe));
        let Some((name, list)) = self.template.named(name) else {
            let quoted = quote::quote(name.as_bytes());
            return Err(self.error(format!("template {quoted} not defined")));
        };
        if self.depth >= self.max_depth {
            let message = format!("exceeded maximum template depth ({})", self.max_depth);
            return Err(self.error_of(ErrorKind::Limit(Exceeded::Depth), &message));
        }
        let dot = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Item::plain(Value::NIL),
        };
        self.depth += 1;
        self.execute(name, list, &dot)?;
        self.depth -= 1;
        Ok(())
    }
}

/// The turns of one `range`.
struct Turns<'r, 'a> {
    run: &'r mut Run<'a>,
    branch: &'a Branch,
    /// Whether there was one.
    any: bool,
    /// Whether there was a `break`.
    ended: bool,
}

impl Turns<'_, '_> {
    fn integers(&mut self, over: &Value) -> Result<(), Error> {
        let mut index = 0;
        while index < over.integer() && !self.ended {
            let kind = match &over.kind {
                Kind::Uint(_, kind) => Kind::Uint(index.cast_unsigned(), kind.clone()),
                Kind::Int(_, kind) => Kind::Int(index, kind.clone()),
                _ => Kind::Nil,
            };
            let item = Value::from(kind).with_origins(over.origins.clone());
            self.turn(Item::plain(Value::NIL), &Item::plain(item))?;
            index += 1;
        }
        Ok(())
    }

    /// Walks the body once, with the variables set to `index` and `item`.
    fn turn(&mut self, index: Item, item: &Item) -> Result<(), Error> {
        self.any = true;
        self.run.charge(1)?;
        let pipe = &self.branch.pipe;
        let mark = self.run.variables.len();
        match pipe.variables.as_slice() {
            [] => {}
            [only] if pipe.assigns => self.run.assign(only, item.clone())?,
            [first, second, ..] if pipe.assigns => {
                self.run.assign(first, index)?;
                self.run.assign(second, item.clone())?;
            }
            // Declared by the pipeline: they are the last ones.
            declared => {
                if let Some((_, last)) = self.run.variables.last_mut() {
                    *last = item.clone();
                }
                if declared.len() > 1
                    && let Some((_, first)) = self.run.variables.iter_mut().rev().nth(1)
                {
                    *first = index;
                }
            }
        }
        let flow = self.run.walk(item, &self.branch.list)?;
        self.run.variables.truncate(mark);
        self.ended = flow == Flow::Break;
        Ok(())
    }
}
