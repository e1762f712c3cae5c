// An authorization server on loopback that issues JWT access tokens for one resource. Its first line
// of input is {client, jwks, resource, hidden}; hidden is a path that it does not serve. It answers
// each line with one: {issuer, kid} at first, and {kid} after "rotate", which adds a signing key in
// front of the others. It ends with its input.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';

console.info = console.error; // the output is for answers

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

const options = JSON.parse((await lines.next()).value);
const keys = [];
let serve;

function rotate(issuer) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kid = `key-${keys.length + 1}`;
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'ES256' });
  serve = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: options.client,
      jwks: options.jwks,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      id_token_signed_response_alg: 'ES256',
    }],
    ttl: { ClientCredentials: 300 },
    enabledJWA: { clientAuthSigningAlgValues: ['ES256'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => options.resource,
        getResourceServerInfo: () => ({
          audience: options.resource,
          scope: 'scim',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300, // seconds
          jwt: { sign: { alg: 'ES256', kid } },
        }),
      },
    },
  }).callback();
  return kid;
}

const server = createServer((req, res) => {
  if (req.url === options.hidden) res.writeHead(404).end();
  else serve(req, res);
});
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  say({ issuer, kid: rotate(issuer) });
  for await (const line of lines) {
    if (line === 'rotate') say({ kid: rotate(issuer) });
  }
  process.exit(0);
});
