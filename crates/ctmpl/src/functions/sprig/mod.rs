//! sprig's functions, as consul-template has them: with the prefix `sprig_`, and without those
//! that read the machine, its clock or chance.

mod convert;
mod date;
mod dictionary;
mod encode;
mod list;
mod logic;
mod number;
mod path;
mod regex;
mod semver;
mod text;
mod url;

use super::Function;
use super::Parameter::Any;
use crate::error::Fault;

pub(super) const TABLES: &[&[Function]] = &[
    convert::FUNCTIONS,
    date::FUNCTIONS,
    dictionary::FUNCTIONS,
    encode::FUNCTIONS,
    list::FUNCTIONS,
    logic::FUNCTIONS,
    number::FUNCTIONS,
    path::FUNCTIONS,
    regex::FUNCTIONS,
    semver::FUNCTIONS,
    text::FUNCTIONS,
    url::FUNCTIONS,
    &REFUSED,
];

macro_rules! refuse {
    ($($name:literal $reason:literal),* $(,)?) => {
        [$(
            Function::passes(concat!("sprig_", $name), &[], |_, _| {
                Err(Fault::Refused(concat!("sprig_", $name, " ", $reason).to_owned()))
            })
            .rest(Any)
        ),*]
    };
}

const REFUSED: [Function; 17] = refuse!(
    "bcrypt" "makes another text each time: a template's output would never be the same twice",
    "htpasswd" "makes another text each time: a template's output would never be the same twice",
    "genPrivateKey" "makes keys: ask the secrets server for one",
    "genCA" "makes keys: use pkiCert",
    "genCAWithKey" "signs certificates: use pkiCert",
    "genSelfSignedCert" "makes keys: use pkiCert",
    "genSelfSignedCertWithKey" "signs certificates: use pkiCert",
    "genSignedCert" "makes keys: use pkiCert",
    "genSignedCertWithKey" "signs certificates: use pkiCert",
    "buildCustomCert" "handles certificates: use pkiCert",
    "derivePassword" "derives passwords: ask the secrets server for one",
    "encryptAES" "encrypts: ask the secrets server's transit engine",
    "decryptAES" "decrypts: ask the secrets server's transit engine",
    "shuffle" "makes another text each time: a template's output would never be the same twice",
    "randInt" "makes another text each time: a template's output would never be the same twice",
    "toDate" "reads dates, which templates here do not",
    "mustToDate" "reads dates, which templates here do not",
);
