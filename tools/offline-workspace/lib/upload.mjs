// Media uploads with `uploadType=multipart`. The emulator would take the whole multipart body for one raw message, so it is
// taken apart here and passed on in the form the emulator has: JSON with the message under `raw`.

/** The two parts of a multipart/related body, `{metadata, media}` as Buffers; null when it is not well formed. */
function splitRelated(contentType, body) {
  const boundary = /boundary="?([^";]+)"?/i.exec(contentType)?.[1];
  if (!boundary) return null;
  const parts = [];
  let from = body.indexOf(`--${boundary}`);
  while (from >= 0) {
    const start = from + boundary.length + 2;
    if (body.subarray(start, start + 2).toString() === "--") break;
    const end = body.indexOf(`\r\n--${boundary}`, start);
    const headersEnd = body.indexOf("\r\n\r\n", start);
    if (end < 0 || headersEnd < 0 || headersEnd + 4 > end) return null;
    parts.push(body.subarray(headersEnd + 4, end));
    from = end + 2;
  }
  return parts.length === 2 ? { metadata: parts[0], media: parts[1] } : null;
}

/** The request to make instead: `{contentType, body}`; null when the upload is malformed. */
export function unwrapMultipart(contentType, body) {
  if (!/^multipart\/related\b/i.test(contentType ?? "")) return null;
  const parts = splitRelated(contentType, body);
  if (!parts) return null;
  let resource;
  try {
    resource = JSON.parse(parts.metadata.toString("utf8"));
  } catch {
    return null;
  }
  const raw = parts.media.toString("base64url");
  // A draft holds its message one level down.
  const withRaw = resource?.message ? { ...resource, message: { ...resource.message, raw } } : { ...resource, raw };
  return { contentType: "application/json", body: Buffer.from(JSON.stringify(withRaw)) };
}
