// What this daemon can do, in BuildKit's names: a client takes what is not listed for what is not there.
import { create } from "@bufbuild/protobuf";
import { APICapSchema, type APICap } from "./gen/buildkit/caps_pb.js";

const LLB = `
source.image source.image.resolvemode source.image.layerlimit source.image.checksum
source.local source.local.unique source.local.sessionid source.local.includepatterns source.local.followpaths
source.local.excludepatterns source.local.sharedkeyhint source.local.differ source.local.metadatatransfer
source.git source.git.keepgitdir source.git.fullurl source.git.httpauth source.git.knownsshhosts
source.git.mountsshsock source.git.subdir source.git.checksum source.git.skipsubmodules
source.http source.http.auth source.http.checksum source.http.perm soruce.http.uidgid source.http.header
source.ocilayout source.buildop.llbfilename
exec.meta.base exec.meta.cgroup.parent exec.meta.network exec.meta.proxyenv exec.meta.security exec.meta.security.devices.v1
exec.meta.setsdefaultpath exec.meta.ulimit exec.meta.cdi exec.meta.removemountstubs.recursive
exec.mount.bind exec.mount.bind.readwrite-nooutput exec.mount.cache exec.mount.cache.sharing exec.mount.selector
exec.mount.tmpfs exec.mount.tmpfs.size exec.mount.secret exec.mount.ssh exec.mount.cache.content
exec.cgroup exec.secretenv exec.validexitcode
file.base file.rm.wildcard file.copy.includeexcludepatterns file.rm.nofollowsymlink
file.copy.alwaysreplaceexistingdestpaths file.copy.modestring file.symlink.create
constraints platform meta.ignorecache meta.description meta.exportcache
mergeop diffop source.policy gc.freespacefilter history.filter exporter.image.annotations exporter.image.attestations
exporter.session exporter.sourcedateepoch exporter.multiple cache.azblob
`;

const FRONTEND = `
solve.base solve.inlinereturn resolveimage resolveimage.resolvemode readfile return returnmap readdir statfile
importcaches proto.refarray reference.output reference.attestations frontend.caps frontend.inputs
gateway.solve.metadata gateway.solve.evaluate gateway.evaluate gateway.warnings gateway.exec gateway.exec.extrahosts gateway.exec.signals
gateway.exec.secretenv source.metaresolver
`;

export const LLB_CAPS = capabilities(LLB);
export const FRONTEND_CAPS = capabilities(FRONTEND);

function capabilities(text: string): readonly APICap[] {
  const names = text.split(/\s+/).filter((name) => name !== "");
  return names.map((ID) => create(APICapSchema, { ID, Enabled: true }));
}
