//! Templates as Vault Agent's users write them: Go's `text/template`, with consul-template's functions.
//!
//! Pure: what a template asks for (a secret, a file, the time) comes from its caller, through
//! `Source`. Text is bytes, and each byte of the output knows the secret it came from.
