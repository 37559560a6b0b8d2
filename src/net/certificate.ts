// Builds and signs X.509 certificates (RFC 5280) with ECDSA keys: just enough for self-signed ones and for the authority
// that the tests use. Not for: parsing certificates or checking them, which is node:crypto's and OpenSSL's work.

import { createHash, type KeyObject, sign } from "node:crypto";

/** What goes into a certificate. Names are plain common names. */
export interface CertificateContent {
  readonly subject: string;
  readonly issuer: string;
  /** 1 to 20 bytes. */
  readonly serialNumber: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly publicKey: KeyObject;
  readonly issuerPublicKey: KeyObject;
  /** A private key on an elliptic curve. */
  readonly signingKey: KeyObject;
  readonly isAuthority: boolean;
  readonly dnsNames: readonly string[];
  /** XmppAddr names (RFC 6120 §13.7.1.4). */
  readonly xmppAddresses?: readonly string[];
  /** SRV-IDs (RFC 4985), such as `_xmpp-server.example.org`. */
  readonly srvNames?: readonly string[];
}

const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OID = 0x06;
const UTF8_STRING = 0x0c;
const IA5_STRING = 0x16;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;

const TRUE = Buffer.from([0x01, 0x01, 0xff]);
const ECDSA_WITH_SHA256 = sequence(oid("2a8648ce3d040302"));
const COMMON_NAME = oid("550403");
const SERVER_AUTH = oid("2b06010505070301");
const CLIENT_AUTH = oid("2b06010505070302");
const XMPP_ADDRESS = oid("2b06010505070805");
const SRV_NAME = oid("2b06010505070807");

/** Returns the signed certificate as PEM. */
export function signCertificate(content: CertificateContent): string {
  const body = sequence(
    der(0xa0, der(INTEGER, Buffer.from([2]))),
    der(INTEGER, positive(content.serialNumber)),
    ECDSA_WITH_SHA256,
    name(content.issuer),
    sequence(time(content.notBefore), time(content.notAfter)),
    name(content.subject),
    publicKeyInfo(content.publicKey),
    der(0xa3, sequence(...extensions(content))),
  );
  const signature = sign("sha256", body, content.signingKey);
  const certificate = sequence(body, ECDSA_WITH_SHA256, bitString(signature));
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function extensions(content: CertificateContent): Buffer[] {
  const list = [
    extension("551d13", true, content.isAuthority ? sequence(TRUE) : sequence()),
    // keyCertSign and cRLSign for an authority, digitalSignature for all others (RFC 5280 §4.2.1.3).
    extension("551d0f", true, der(BIT_STRING, Buffer.from(content.isAuthority ? [1, 0x06] : [7, 0x80]))),
    extension("551d0e", false, der(OCTET_STRING, keyIdentifier(content.publicKey))),
    extension("551d23", false, sequence(der(0x80, keyIdentifier(content.issuerPublicKey)))),
  ];
  if (content.isAuthority) return list;
  list.push(extension("551d25", false, sequence(SERVER_AUTH, CLIENT_AUTH)));
  list.push(extension("551d11", false, sequence(...alternativeNames(content))));
  return list;
}

function alternativeNames({ dnsNames, xmppAddresses = [], srvNames = [] }: CertificateContent): Buffer[] {
  const otherName = (type: Buffer, value: Buffer): Buffer => der(0xa0, Buffer.concat([type, der(0xa0, value)]));
  return [
    ...dnsNames.map((value) => der(0x82, Buffer.from(value, "latin1"))),
    ...xmppAddresses.map((value) => otherName(XMPP_ADDRESS, der(UTF8_STRING, Buffer.from(value)))),
    ...srvNames.map((value) => otherName(SRV_NAME, der(IA5_STRING, Buffer.from(value, "latin1")))),
  ];
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(isCritical ? [TRUE] : []), der(OCTET_STRING, value));
}

function name(commonName: string): Buffer {
  return sequence(der(SET, sequence(COMMON_NAME, der(UTF8_STRING, Buffer.from(commonName)))));
}

/** RFC 5280 §4.1.2.5: two-digit years through 2049, four digits from then on. */
function time(moment: Date): Buffer {
  const digits = moment.toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  return moment.getUTCFullYear() < 2050
    ? der(UTC_TIME, Buffer.from(digits.slice(2)))
    : der(GENERALIZED_TIME, Buffer.from(digits));
}

function publicKeyInfo(key: KeyObject): Buffer {
  return key.export({ type: "spki", format: "der" });
}

/** Identifies a key by the SHA-1 of its whole SubjectPublicKeyInfo: any unique value will do (RFC 5280 §4.2.1.2). */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash("sha1").update(publicKeyInfo(key)).digest();
}

/** Clears the sign bit and sets the next one, so that the number is positive and its encoding the shortest. */
function positive(number: Buffer): Buffer {
  const copy = Buffer.from(number);
  copy[0] = ((copy[0] ?? 0) & 0x7f) | 0x40;
  return copy;
}

function bitString(content: Buffer): Buffer {
  return der(BIT_STRING, Buffer.concat([Buffer.from([0]), content]));
}

function oid(hex: string): Buffer {
  return der(OID, Buffer.from(hex, "hex"));
}

function sequence(...parts: Buffer[]): Buffer {
  return der(SEQUENCE, Buffer.concat(parts));
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const size = Buffer.from(length.toString(16).padStart(length < 0x100 ? 2 : length < 0x10000 ? 4 : 6, "0"), "hex");
  return Buffer.concat([Buffer.from([tag, 0x80 | size.length]), size, content]);
}
