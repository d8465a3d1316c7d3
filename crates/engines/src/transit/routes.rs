//! What is served.

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{Field, Route};

const NAME: Field = Field::string("name", "The key.");
const CONTEXT: Field = Field::string("context", "What a derived key is derived for, in base64.");
const KEY_VERSION: Field = Field::integer("key_version", "The version to use; 0 for the newest.");
const ASSOCIATED: Field = Field::string(
    "associated_data",
    "Authenticated with the ciphertext but not part of it, in base64.",
);
const BATCH: Field = Field::strings("batch_input", "Many items, each with the fields of one.");
const PARTIAL: Field = Field::integer(
    "partial_failure_response_code",
    "The status where some items of a batch were refused and others were not.",
);
const INPUT: Field = Field::string("input", "The data, in base64.");
const ALGORITHM: Field = Field::string("algorithm", "The hash function: `sha2-256` unless said.");
const HASH_IN_PATH: Field = Field::string("urlalgorithm", "The hash function.");
const VERSION_IN_PATH: Field = Field::string("version", "The version, or `latest`.");
const TYPE: Field = Field::string("type", "The kind of key: `aes256-gcm96` unless said.");
const EXPORTABLE: Field = Field::bool("exportable", "Whether the key may leave; for good.");
const BACKUP: Field =
    Field::bool("allow_plaintext_backup", "Whether backups may be taken; for good.");
const PERIOD: Field =
    Field::duration("auto_rotate_period", "After how long the key rotates by itself; 0: never.");
const DERIVED: Field = Field::bool("derived", "Whether a key is derived for each context.");
const CONVERGENT: Field = Field::bool(
    "convergent_encryption",
    "Whether the same plaintext and context give the same ciphertext.",
);
const EXTERNAL: Field = Field::string("external_key_ref", "Keys elsewhere are not supported.");
const CIPHERTEXT_OF_KEY: Field =
    Field::string("ciphertext", "The key, encrypted with the wrapping key, in base64.");
const PUBLIC_KEY: Field = Field::string("public_key", "A public half alone, as PEM.");
const HASH_FUNCTION: Field =
    Field::string("hash_function", "That of the OAEP: `SHA256` unless said.");
const CERTIFIED_VERSION: Field = Field::integer("version", "The version; the newest unless said.");

const SIGN: &[Field] = &[
    NAME,
    HASH_IN_PATH,
    INPUT,
    CONTEXT,
    Field::string("hash_algorithm", "The hash function: `sha2-256` unless said."),
    ALGORITHM,
    KEY_VERSION,
    Field::bool("prehashed", "Whether the input is a hash already."),
    Field::string("signature_algorithm", "RSA: `pss` (unless said) or `pkcs1v15`."),
    Field::string("marshaling_algorithm", "ECDSA: `asn1` (unless said) or `jws`."),
    Field::string("salt_length", "PSS: `auto` (unless said), `hash`, or a number of bytes."),
    BATCH,
];
const VERIFY: &[Field] = &[
    NAME,
    HASH_IN_PATH,
    INPUT,
    CONTEXT,
    Field::string("signature", "The signature."),
    Field::string("hmac", "The HMAC, in the place of a signature."),
    Field::string("hash_algorithm", "The hash function: `sha2-256` unless said."),
    ALGORITHM,
    Field::bool("prehashed", "Whether the input is a hash already."),
    Field::string("signature_algorithm", "RSA: `pss` (unless said) or `pkcs1v15`."),
    Field::string("marshaling_algorithm", "ECDSA: `asn1` (unless said) or `jws`."),
    Field::string("salt_length", "PSS: `auto` (unless said), `hash`, or a number of bytes."),
    BATCH,
];
const HMAC: &[Field] = &[NAME, HASH_IN_PATH, INPUT, ALGORITHM, KEY_VERSION, BATCH];
const HASH: &[Field] =
    &[HASH_IN_PATH, INPUT, ALGORITHM, Field::string("format", "`hex` (unless said) or `base64`.")];
const RANDOM: &[Field] = &[
    Field::string("source", "`platform`, `seal` or `all`: the kernel; or how many bytes."),
    Field::string("urlbytes", "How many bytes."),
    Field::integer("bytes", "How many bytes: 32 unless said."),
    Field::string("format", "`base64` (unless said) or `hex`."),
];
const EXPORT: &[Field] = &[
    Field::string(
        "type",
        "`encryption-key`, `signing-key`, `hmac-key`, `public-key`, \
                           `certificate-chain`.",
    ),
    NAME,
    VERSION_IN_PATH,
    Field::string("format", "`raw`, `der`, `pem`; as suits the key unless said."),
];
const BYOK_EXPORT: &[Field] = &[
    Field::string("destination", "The RSA key to encrypt with."),
    Field::string("source", "The key to export."),
    VERSION_IN_PATH,
    Field::string("hash", "The hash function of the OAEP: `SHA256` unless said."),
];
const RESTORE: &[Field] = &[
    NAME,
    Field::string("backup", "What a backup gave.").required(),
    Field::bool("force", "Whether a key of that name is replaced."),
];

pub(super) const ROUTES: &[Route] = &[
    Route::new("keys", &[List], "List the keys.").fields(&[
        Field::string("after", "Begin behind this name."),
        Field::integer("limit", "The most names to return."),
    ]),
    Route::new("keys/{name}", &[Read, Update, Delete], "Make, read or remove a key.").fields(&[
        NAME,
        TYPE,
        DERIVED,
        CONVERGENT,
        EXPORTABLE,
        BACKUP,
        CONTEXT,
        PERIOD,
        Field::integer("key_size", "Of an HMAC key, in bytes: 32 to 512."),
        EXTERNAL,
    ]),
    Route::new("keys/{name}/rotate", &[Update], "Give a key a new version.")
        .fields(&[NAME, EXTERNAL]),
    Route::new("keys/{name}/config", &[Update], "Say what a key may be used for.").fields(&[
        NAME,
        Field::integer("min_decryption_version", "The oldest version that decrypts and verifies."),
        Field::integer("min_encryption_version", "The oldest version that encrypts and signs."),
        Field::bool("deletion_allowed", "Whether the key may be removed."),
        EXPORTABLE,
        BACKUP,
        PERIOD,
    ]),
    Route::new("keys/{name}/trim", &[Update], "Remove old versions for good.").fields(&[
        NAME,
        Field::integer("min_available_version", "The oldest version that stays.").required(),
    ]),
    Route::new("keys/{name}/soft-delete", &[Delete], "Put a key out of use.").fields(&[NAME]),
    Route::new("keys/{name}/soft-delete-restore", &[Update], "Put a key in use again.")
        .fields(&[NAME]),
    Route::new("keys/{name}/import", &[Update], "Bring a key.").fields(&[
        NAME,
        TYPE,
        CIPHERTEXT_OF_KEY,
        PUBLIC_KEY,
        HASH_FUNCTION,
        Field::bool("allow_rotation", "Whether the key may get versions that are made here."),
        DERIVED,
        EXPORTABLE,
        BACKUP,
        CONTEXT,
        PERIOD,
    ]),
    Route::new("keys/{name}/import_version", &[Update], "Bring a new version of a key.").fields(&[
        NAME,
        CIPHERTEXT_OF_KEY,
        PUBLIC_KEY,
        HASH_FUNCTION,
        Field::integer("version", "The version whose private half this is."),
    ]),
    Route::new("keys/{name}/csr", &[Update], "Ask for a certificate for a key.").fields(&[
        NAME,
        CERTIFIED_VERSION,
        Field::string("csr", "A request as PEM, whose subject and attributes are taken."),
    ]),
    Route::new("keys/{name}/set-certificate", &[Update], "Keep a key's certificates.").fields(&[
        NAME,
        CERTIFIED_VERSION,
        Field::string("certificate_chain", "PEM, leaf first.").required(),
    ]),
    Route::new("encrypt/{name}", &[Create, Update], "Encrypt; creating makes the key.").fields(&[
        NAME,
        Field::string("plaintext", "The data, in base64."),
        CONTEXT,
        TYPE,
        CONVERGENT,
        KEY_VERSION,
        PARTIAL,
        ASSOCIATED,
        BATCH,
    ]),
    Route::new("decrypt/{name}", &[Update], "Decrypt.").fields(&[
        NAME,
        Field::string("ciphertext", "What encrypting gave."),
        CONTEXT,
        PARTIAL,
        ASSOCIATED,
        BATCH,
    ]),
    Route::new("rewrap/{name}", &[Update], "Decrypt, and encrypt with the newest version.").fields(
        &[NAME, Field::string("ciphertext", "What encrypting gave."), CONTEXT, KEY_VERSION, BATCH],
    ),
    Route::new("datakey/{plaintext}/{name}", &[Update], "A new key, encrypted with another.")
        .fields(&[
            Field::string("plaintext", "`plaintext` to see the new key, or `wrapped`."),
            NAME,
            CONTEXT,
            Field::integer("bits", "128, 256 (unless said) or 512."),
            KEY_VERSION,
            ASSOCIATED,
        ]),
    Route::new("sign/{name}", &[Update], "Sign.").fields(SIGN),
    Route::new("sign/{name}/{urlalgorithm*}", &[Update], "Sign.").fields(SIGN),
    Route::new("verify/{name}", &[Update], "Verify signatures or HMACs.").fields(VERIFY),
    Route::new("verify/{name}/{urlalgorithm*}", &[Update], "Verify signatures or HMACs.")
        .fields(VERIFY),
    Route::new("hmac/{name}", &[Update], "Make HMACs.").fields(HMAC),
    Route::new("hmac/{name}/{urlalgorithm*}", &[Update], "Make HMACs.").fields(HMAC),
    Route::new("hash", &[Update], "Hash.").fields(HASH),
    Route::new("hash/{urlalgorithm*}", &[Update], "Hash.").fields(HASH),
    Route::new("random", &[Update], "Random bytes.").fields(RANDOM),
    Route::new("random/{source}", &[Update], "Random bytes.").fields(RANDOM),
    Route::new("random/{source}/{urlbytes*}", &[Update], "Random bytes.").fields(RANDOM),
    Route::new("export/{type}/{name}", &[Read], "Take a key out.").fields(EXPORT),
    Route::new("export/{type}/{name}/{version*}", &[Read], "Take a version out.").fields(EXPORT),
    Route::new("byok-export/{destination}/{source}", &[Read], "Take a key out, encrypted.")
        .fields(BYOK_EXPORT),
    Route::new(
        "byok-export/{destination}/{source}/{version*}",
        &[Read],
        "Take a version out, encrypted.",
    )
    .fields(BYOK_EXPORT),
    Route::new("backup/{name}", &[Read], "Take a key out with all its versions.").fields(&[NAME]),
    Route::new("restore", &[Update], "Bring a backup back.").fields(RESTORE),
    Route::new("restore/{name*}", &[Update], "Bring a backup back by another name.")
        .fields(RESTORE),
    Route::new("derive-key/{name}", &[Update], "Agree on a key with another party.").fields(&[
        NAME,
        Field::string("key_derivation_algorithm", "`ecdh`."),
        Field::string("peer_public_key", "The other party's public key, as PEM.").required(),
        Field::string("base_key_name", "The own key."),
        Field::integer("base_key_version", "Its version; 0 for the newest."),
        Field::string("derived_key_type", "The kind of key to make: `aes256-gcm96` unless said."),
    ]),
    Route::new("wrapping_key", &[Read], "What keys to import are encrypted with."),
    Route::new("config/keys", &[Read, Update], "Settings of all keys.")
        .fields(&[Field::bool("disable_upsert", "Whether encrypting makes no keys.")]),
    Route::new("cache-config", &[Read, Update], "How many keys stay in memory.")
        .fields(&[Field::integer("size", "How many; 0 for the server's choice.")]),
];
