import { expect, it } from "vitest";
import { FRONTEND_CAPS, LLB_CAPS } from "./caps.js";

/** What dockerd 28.5 lists for graphs. */
const LLB = `
cache.azblob cache.gha cache.s3 constraints diffop exec.cgroup exec.meta.base exec.meta.cdi
exec.meta.cgroup.parent exec.meta.network exec.meta.proxyenv exec.meta.security
exec.meta.security.devices.v1 exec.meta.setsdefaultpath exec.meta.ulimit exec.mount.bind
exec.mount.bind.readwrite-nooutput exec.mount.cache exec.mount.cache.content
exec.mount.cache.sharing exec.mount.secret exec.mount.selector exec.mount.ssh exec.mount.tmpfs
exec.mount.tmpfs.size exec.secretenv exec.validexitcode exporter.image.annotations
exporter.image.attestations exporter.multiple exporter.session exporter.sourcedateepoch file.base
file.copy.alwaysreplaceexistingdestpaths file.copy.includeexcludepatterns file.rm.nofollowsymlink
file.rm.wildcard file.symlink.create gc.freespacefilter history.filter mergeop meta.description
meta.exportcache meta.ignorecache platform soruce.http.uidgid source.buildop.llbfilename source.git
source.git.checksum source.git.fullurl source.git.httpauth source.git.keepgitdir
source.git.knownsshhosts source.git.mountsshsock source.git.skipsubmodules source.git.subdir
source.http source.http.auth source.http.checksum source.http.header source.http.perm source.image
source.image.checksum source.image.layerlimit source.image.resolvemode source.local
source.local.differ source.local.excludepatterns source.local.followpaths
source.local.includepatterns source.local.metadatatransfer source.local.sessionid
source.local.sharedkeyhint source.local.unique source.ocilayout source.policy
`;

/** What dockerd 28.5 lists for frontends. */
const FRONTEND = `
frontend.caps frontend.inputs gateway.evaluate gateway.exec gateway.exec.extrahosts
gateway.exec.secretenv gateway.exec.signals gateway.solve.evaluate gateway.solve.metadata
gateway.warnings importcaches proto.refarray readdir readfile reference.attestations
reference.output resolveimage resolveimage.resolvemode return returnmap solve.base
solve.inlinereturn source.metaresolver statfile
`;

const missing = (theirs: string, ours: readonly { readonly ID: string }[]): string[] => {
  const known = new Set(ours.map(({ ID }) => ID));
  return theirs.split(/\s+/).filter((name) => name !== "" && !known.has(name));
};

it("are BuildKit's, but for what is not here", () => {
  expect(missing(LLB, LLB_CAPS)).toEqual(["cache.gha", "cache.s3"]);
  expect(missing(FRONTEND, FRONTEND_CAPS)).toEqual([]);
});
