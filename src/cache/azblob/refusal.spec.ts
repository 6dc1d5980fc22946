import { describe, expect, it } from "vitest";
import { azblobConfig } from "./config.js";
import { refusal } from "./refusal.js";

const URL = "https://acc.blob.core.windows.net";
const config = (attributes: Record<string, string>, environment: Record<string, string> = {}) =>
  azblobConfig(new Map(Object.entries({ account_url: URL, ...attributes })), environment);
const withKey = config({ secret_access_key: "a2V5" });
const identity = config({});
const withSas = (query: string) => config({ account_url: `${URL}?sig=x&${query}` });
const now = (): string => new Date().toUTCString();
const hint = (code: string, of = identity, status = 403, date = now()) => refusal({ status, code, date }, of);

describe("refusal", () => {
  it("is none where the answer is something else", () => {
    expect(hint("BlobNotFound", identity, 404)).toBeUndefined();
    expect(hint("ServerBusy", identity, 503)).toBeUndefined();
  });

  it("names the role that an identity lacks", () => {
    expect(hint("AuthorizationPermissionMismatch")).toContain("Storage Blob Data Contributor");
  });

  it("names the tenant where the token itself is refused", () => {
    expect(hint("InvalidAuthenticationInfo", identity, 401)).toContain("tenant_id");
  });

  it("says when a SAS begins and ends", () => {
    expect(hint("AuthenticationFailed", withSas("se=2020-01-01T00:00:00Z&sp=r"))).toBe(
      "the SAS expired at 2020-01-01T00:00:00Z",
    );
    expect(hint("AuthenticationFailed", withSas("st=2999-01-01&sp=r"))).toBe(
      "the SAS is not valid before 2999-01-01",
    );
  });

  it("says which rights a SAS has, and which it takes", () => {
    expect(hint("AuthorizationPermissionMismatch", withSas("sp=rl"))).toMatch(
      /has the rights "rl";.*\(rcwl\)/,
    );
    expect(hint("AuthorizationResourceTypeMismatch", withSas("sp=rl&srt=s"))).toContain("srt");
  });

  it("tells a wrong key from an account that takes none, and from a network that is shut", () => {
    expect(hint("AuthenticationFailed", withKey)).toBe(
      "the account key is wrong or not that of account acc (account_name)",
    );
    expect(hint("KeyBasedAuthenticationNotPermitted", withKey)).toContain("sign in with an identity");
    expect(hint("AuthorizationFailure", withKey)).toContain("network rules");
    expect(hint("AuthorizationFailure")).toContain("network rules");
  });

  it("blames the clock before anything else", () => {
    const minutes = (count: number): string => new Date(Date.now() + count * 60_000).toUTCString();
    expect(hint("AuthenticationFailed", withKey, 403, minutes(20))).toBe(
      "the clock of this machine is 20 minutes slow",
    );
    expect(hint("AuthenticationFailed", withSas("sp=r"), 403, minutes(-90))).toBe(
      "the clock of this machine is 90 minutes fast",
    );
    expect(hint("AuthenticationFailed", withKey, 403, minutes(5))).toContain("key");
  });

  it("says that a private account is not for everybody", () => {
    expect(hint("PublicAccessNotPermitted", identity, 409)).toContain("sign in");
  });
});
