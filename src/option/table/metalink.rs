//! Pure: rows of Metalink documents.

use crate::option::spec::{ADD, GLOBAL, HOME, Kind, QUEUED, options};
use crate::option::value::{Choice, Follow, List, MetalinkProtocol, Text};

options! { 4;
    /// What to do with a fetched Metalink: 'true' downloads its files, 'mem' does so without
    /// keeping the document, 'false' takes it as an ordinary file.
    FOLLOW_METALINK: Follow = "follow-metalink" {
        arg: "true|false|mem",
        kind: Kind::Choice(Follow::WORDS),
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Metalink],
    }

    /// Address against which relative addresses in a Metalink read from disk are resolved.
    METALINK_BASE_URI: Text = "metalink-base-uri" {
        arg: "URI",
        kind: Kind::Text,
        scope: ADD | GLOBAL,
        tags: [Metalink],
    }

    /// Ask a host that has a file of a Metalink by several protocols by one of them only, as long as
    /// that one works.
    METALINK_ENABLE_UNIQUE_PROTOCOL: bool = "metalink-enable-unique-protocol" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Metalink],
    }

    /// Path of a Metalink document to download; '-' reads standard input.
    METALINK_FILE: Text = "metalink-file" {
        short: 'M',
        arg: "METALINK_FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Basic, Metalink],
    }

    /// Language of the files wanted from a Metalink.
    METALINK_LANGUAGE: Text = "metalink-language" {
        arg: "LANGUAGE",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Metalink],
    }

    /// Countries whose mirrors go first, as two-letter codes separated by commas.
    METALINK_LOCATION: List = "metalink-location" {
        arg: "LOCATION[,...]",
        kind: Kind::Commas,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Metalink],
    }

    /// Operating system of the files wanted from a Metalink.
    METALINK_OS: Text = "metalink-os" {
        arg: "OS",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Metalink],
    }

    /// Protocol whose mirrors go first, whatever their priority; 'none' for no preference.
    METALINK_PREFERRED_PROTOCOL: MetalinkProtocol = "metalink-preferred-protocol" {
        arg: "PROTO",
        kind: Kind::Choice(MetalinkProtocol::WORDS),
        default: "none",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Metalink],
    }

    /// Version of the files wanted from a Metalink.
    METALINK_VERSION: Text = "metalink-version" {
        arg: "VERSION",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Metalink],
    }
}
