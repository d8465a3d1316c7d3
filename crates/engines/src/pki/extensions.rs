//! The extensions of a certificate in the order in which OpenBao writes them.

use holdfast_keys::x509::{CertificateRequest, Extension, GeneralName, oids};

/// First what every certificate has, then what a request is taken over with, then the rest.
pub(super) struct Extensions {
    first: Vec<Extension>,
    late: Vec<Extension>,
    /// Alternative names are written here, not taken over as they are.
    has_own_names: bool,
}

impl Extensions {
    pub(super) fn new<const N: usize>(first: [Option<Extension>; N]) -> Self {
        let first = first.into_iter().flatten().collect();
        Self { first, late: Vec::new(), has_own_names: false }
    }

    /// Adds one to the first.
    pub(super) fn add(&mut self, extension: Option<Extension>) {
        self.first.extend(extension);
    }

    /// Adds one to the last.
    pub(super) fn add_late(&mut self, extension: Option<Extension>) {
        self.late.extend(extension);
    }

    /// Adds the alternative names. Names of other kinds come first, and then all of them late.
    /// `taken_over`: those of the request stay as they are, where they need not be rewritten.
    pub(super) fn names(&mut self, names: &[GeneralName], critical: bool, taken_over: bool) {
        let is_other = |name: &&GeneralName| matches!(name, GeneralName::Other(..));
        let others: Vec<_> = names.iter().filter(is_other).cloned().collect();
        if others.is_empty() {
            if !taken_over {
                self.add(Extension::subject_alt_name(names, critical));
            }
            return;
        }
        let rest = names.iter().filter(|name| !is_other(name)).cloned();
        let names: Vec<_> = others.into_iter().chain(rest).collect();
        self.has_own_names = true;
        self.add_late(Extension::subject_alt_name(&names, critical));
    }

    /// All of them. Those of a request take the place of the first ones of their kind; but who
    /// signs says what an authority is and what it is limited to, not who asks.
    pub(super) fn build(mut self, taken_over: Option<&CertificateRequest>) -> Vec<Extension> {
        for asked in taken_over.map(|csr| csr.extensions.as_slice()).unwrap_or_default() {
            let is_there = self.first.iter().any(|extension| extension.oid == asked.oid);
            let is_limit =
                asked.oid == oids::NAME_CONSTRAINTS || asked.oid == oids::AUTHORITY_KEY_ID;
            let is_ours = asked.oid == oids::BASIC_CONSTRAINTS
                || (is_limit && is_there)
                || (self.has_own_names && asked.oid == oids::SUBJECT_ALT_NAME)
                || self.late.iter().any(|extension| extension.oid == asked.oid);
            if !is_ours {
                self.first.retain(|extension| extension.oid != asked.oid);
                self.first.push(asked.clone());
            }
        }
        self.first.append(&mut self.late);
        self.first
    }
}
