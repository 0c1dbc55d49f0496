#!/bin/sh
# Finds the root certificate of a network that opens TLS connections (Cloudflare WARP, Zscaler, ...) and exports it
# as a PEM file for --ca-bundle and SSL_CERT_FILE. Changes nothing else: no store, no setting. Linux and macOS.
# Places of Cloudflare's client: its documentation, "Install certificate using WARP" (2025).
set -eu

OUT=intercepting-root.pem
ROOT=
ALL=no
HOST=
# Parts of the names that products for this purpose give their roots, in lower case.
KNOWN='cloudflare|gateway ca|zscaler|netskope|palo alto|fortinet|fortigate|forcepoint|websense|blue ?coat|umbrella'
KNOWN="$KNOWN|sophos|check ?point|skyhigh|mcafee web|iboss|menlo security|barracuda|watchguard|cato networks"
KNOWN="$KNOWN|kaspersky|bitdefender|eset ssl|avast|mitmproxy|charles proxy|fiddler|portswigger|squid"

usage() {
    cat <<'TEXT'
Usage: extract-warp-cert.sh [-o FILE] [--all] [--root DIR] [HOST[:PORT]]

Export the root certificate with which this network opens TLS connections, for example Cloudflare WARP's.

  HOST[:PORT]   also connect there, and export the root that its certificate leads to (needs openssl)
  -o FILE       where to write it [intercepting-root.pem]; an existing file is never overwritten
  --all         every root that was added to this machine, not only those with a known name
  --root DIR    look for files below DIR, for example the mounted disk of another machine
  -h, --help    this text

Looked at: the folders of Cloudflare's client, what was added to the system's store (Linux), and the System and
login keychains (macOS). Exit code 0: exported; 1: nothing found; 2: wrong use.

Examples:
  extract-warp-cert.sh
  extract-warp-cert.sh -o corporate.pem huggingface.co
  xetway serve --upstream https://huggingface.co --ca-bundle corporate.pem
TEXT
}

die() {
    printf 'extract-warp-cert: %s\n' "$1" >&2
    exit "${2:-2}"
}

while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    -o | --root)
        [ $# -gt 1 ] || die "$1 needs a value; see --help"
        if [ "$1" = -o ]; then OUT=$2; else ROOT=${2%/}; fi
        shift ;;
    --all) ALL=yes ;;
    -*) die "no option $1; see --help" ;;
    *)
        [ -z "$HOST" ] || die "one HOST at most; see --help"
        HOST=$1 ;;
    esac
    shift
done
# A leading dash would make it an option of openssl's.
case $HOST in *[!A-Za-z0-9.:_-]* | -*) die "'$HOST' is no host name" ;; esac
if [ -e "$OUT" ] || [ -L "$OUT" ]; then die "$OUT is there already, and stays as it is; choose another with -o"; fi
[ -z "$ROOT" ] || [ -d "$ROOT" ] || die "$ROOT is no folder"

OPENSSL=$(command -v openssl || true)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/extract-warp-cert.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
: >"$WORK/chosen"
: >"$WORK/list"

# split PREFIX <PEM: one file PREFIX.N.pem for each certificate; anything between them is dropped.
split() {
    awk -v prefix="$1" '
        /-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/ { n++; file = sprintf("%s.%04d.pem", prefix, n); inside = 1 }
        inside { sub(/\r$/, ""); print > file }
        /-----END (TRUSTED |X509 )?CERTIFICATE-----/ { inside = 0; close(file) }
    '
}

# der FILE: the binary certificate. `base64 -D` is what macOS had before it knew -d.
der() {
    grep -v -e '-----' "$1" | { base64 -d 2>/dev/null || grep -v -e '-----' "$1" | base64 -D; }
}

# words FILE: what can be read in a certificate. Names are plain text in its binary form.
words() {
    der "$1" | LC_ALL=C tr -c '[:print:]' ' ' | tr '[:upper:]' '[:lower:]'
}

fingerprint() {
    if command -v sha256sum >/dev/null 2>&1; then der "$1" | sha256sum; else der "$1" | shasum -a 256; fi | cut -c 1-64
}

title() {
    if [ -n "$OPENSSL" ]; then
        "$OPENSSL" x509 -in "$1" -noout -subject -enddate 2>/dev/null | sed 's/^subject= *//; s/^notAfter=/until /' |
            tr '\n' ',' | sed 's/,$//; s/,until/, until/'
    else
        printf 'a certificate (its name is shown where openssl is installed)'
    fi
}

self_signed() {
    [ "$("$OPENSSL" x509 -in "$1" -noout -subject_hash)" = "$("$OPENSSL" x509 -in "$1" -noout -issuer_hash)" ]
}

# choose FILE WHERE: take a certificate, once.
choose() {
    id=$(fingerprint "$1")
    if grep -q "$id" "$WORK/list"; then return 0; fi
    cat "$1" >>"$WORK/chosen"
    printf '  %s\n    from %s\n    SHA-256 %s\n' "$(title "$1")" "$2" "$id" >>"$WORK/list"
}

# consider FILE WHERE any|named: choose the certificates of a PEM file, all of them or those with a known name.
COUNT=0
consider() {
    [ -f "$1" ] && [ -r "$1" ] || return 0
    COUNT=$((COUNT + 1))
    split "$WORK/c$COUNT" <"$1"
    for one in "$WORK/c$COUNT".*.pem; do
        [ -f "$one" ] || continue
        if [ "$3" = any ] || [ "$ALL" = yes ] || words "$one" | grep -E -q "$KNOWN"; then choose "$one" "$2"; fi
    done
}

warp_folders() {
    for folder in "$ROOT/Library/Application Support/Cloudflare" "$ROOT/var/lib/cloudflare-warp" \
        "${ROOT:-}${HOME:-/nonexistent}/.local/share/cloudflare"; do
        for file in "$folder"/installed_certs/*.pem "$folder"/installed_cert.pem; do consider "$file" "$file" any; done
    done
}

linux_stores() {
    for folder in /usr/local/share/ca-certificates /etc/pki/ca-trust/source/anchors \
        /etc/ca-certificates/trust-source/anchors /usr/share/pki/trust/anchors /etc/pki/trust/anchors; do
        for file in "$ROOT$folder"/* "$ROOT$folder"/*/*; do
            case $file in
            */managed-warp.*) consider "$file" "$file" any ;;
            *) consider "$file" "$file" named ;;
            esac
        done
    done
}

mac_keychains() {
    [ -z "$ROOT" ] && command -v security >/dev/null 2>&1 || return 0
    for chain in /Library/Keychains/System.keychain "${HOME:-}/Library/Keychains/login.keychain-db"; do
        security find-certificate -a -p "$chain" >"$WORK/keychain" 2>/dev/null || continue
        consider "$WORK/keychain" "$chain" named
    done
}

# probe: the root that HOST's certificate leads to. What the server shows is only as good as the network.
probe() {
    [ -n "$OPENSSL" ] || die "to look at $HOST, openssl is needed" 1
    case $HOST in *:*) name=${HOST%%:*} address=$HOST ;; *) name=$HOST address=$HOST:443 ;; esac
    "$OPENSSL" s_client -connect "$address" -servername "$name" -showcerts </dev/null \
        >"$WORK/answer" 2>"$WORK/trouble" || true
    split "$WORK/probe" <"$WORK/answer"
    last=
    for one in "$WORK"/probe.*.pem; do [ -f "$one" ] && last=$one; done
    [ -n "$last" ] || die "no TLS answer from $address: $(sed -n '1s/^[^:]*:error:/error:/p' "$WORK/trouble")" 1
    issuer=$("$OPENSSL" x509 -in "$last" -noout -issuer | sed 's/^issuer= *//')
    printf '%s shows a certificate that goes back to: %s\n' "$address" "$issuer"
    wanted=$("$OPENSSL" x509 -in "$last" -noout -issuer_hash)
    # What was added to this machine is better than what the network shows.
    keep=$ALL ALL=yes
    cp "$WORK/chosen" "$WORK/chosen.before"; cp "$WORK/list" "$WORK/list.before"
    linux_stores; mac_keychains
    split "$WORK/have" <"$WORK/chosen"
    cp "$WORK/chosen.before" "$WORK/chosen"; cp "$WORK/list.before" "$WORK/list"
    ALL=$keep
    for one in "$WORK"/have.*.pem; do
        [ -f "$one" ] && [ "$("$OPENSSL" x509 -in "$one" -noout -subject_hash)" = "$wanted" ] || continue
        choose "$one" "this machine's store; it is the one that $address leads to"
        return 0
    done
    if grep -q 'Verify return code: 0 ' "$WORK/answer"; then
        printf 'This system trusts it as it is, and it is no root that was added: nothing seems to open this connection.\n'
    elif self_signed "$last"; then
        choose "$last" "$address itself"
        UNSURE=yes
    else
        printf 'Its root is neither shown nor in a store of this machine; ask who runs the network for it.\n'
    fi
}

UNSURE=no
warp_folders
linux_stores
mac_keychains
[ -z "$HOST" ] || probe

if [ ! -s "$WORK/chosen" ]; then
    printf 'extract-warp-cert: no intercepting root found.%s\n' \
        "$([ -n "$HOST" ] || printf ' Name a HOST that fails, for example huggingface.co, or try --all.')" >&2
    exit 1
fi
# With -C an existing file is not overwritten even if it has just come to be.
(set -C; umask 022; cat "$WORK/chosen" >"$OUT") || die "cannot write $OUT"
printf 'Exported to %s:\n' "$OUT"
cat "$WORK/list"
if [ "$UNSURE" = yes ]; then
    printf '%s\n' '' 'This root came over the network itself. Before you trust it, compare its SHA-256 with what' \
        "your administrator gives; whoever else stands in between would show one too."
fi
printf '%s\n' '' 'Use it:' "  xetway serve --upstream https://huggingface.co --ca-bundle $OUT" \
    "  export SSL_CERT_FILE=$OUT      # instead of the system's roots; for hf, curl, Python and others"
