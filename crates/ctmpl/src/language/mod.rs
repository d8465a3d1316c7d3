//! Go's template language: tokens, the tree, the parser.

pub(crate) mod ast;
mod constant;
mod lex;
pub(crate) mod parse;
mod token;
