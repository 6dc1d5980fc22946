// The texts of --help.

export const MAIN_HELP = `Usage:  bluekiln COMMAND

Builds container images as docker buildx build does and keeps the build cache in Azure Blob Storage.

Commands:
  build       Build an image
  create      Create a builder: a daemon to build with
  daemon      Serve BuildKit's API: for docker buildx and buildctl
  doctor      Check the state directory and this machine
  du          Disk usage
  inspect     Inspect a builder
  ls          List builders
  prune       Remove build cache
  rm          Remove builders
  use         Set the current builder
  version     Show the version

Run 'bluekiln COMMAND --help' for more information on a command.
`;

export const BUILD_HELP = `Usage:  bluekiln build [OPTIONS] PATH | -

Start a build

Options:
      --add-host strings          Add a custom host-to-IP mapping (format: "host:ip")
      --allow stringArray         Allow extra privileged entitlement ("network.host", "security.insecure", "device[=NAME]")
      --annotation stringArray    Add annotation to the image (format: "[manifest|index|manifest-descriptor][[platform]]:key=value")
      --attest stringArray        Attestation parameters (format: "type=sbom,generator=image")
      --build-arg stringArray     Set build-time variables
      --builder string            Builder to use: its name or address (default: the current one; "default" builds here)
      --build-context stringArray Additional build contexts (e.g., name=path)
      --cache-from stringArray    External cache sources (e.g., "type=azblob,name=app,account_url=...")
      --cache-to stringArray      Cache export destinations (e.g., "type=azblob,name=app,mode=max,...")
      --call string               Set method for evaluating build ("build", "check", "outline", "targets"; ",format=json")
      --cgroup-parent string      Set the parent cgroup for the "RUN" instructions during build
      --check                     Shorthand for "--call=check"
  -D, --debug                     Show stack traces of errors and details of warnings
      --debug-llb string          Write the build graph to FILE (protobuf, or readable if it ends in .json)
  -f, --file string               Name of the Dockerfile (default: "PATH/Dockerfile"; "-" for standard input)
      --iidfile string            Write the image ID to a file
      --label stringArray         Set metadata for an image
      --load                      Load the image into the Docker engine (DOCKER_HOST, or docker's current context)
      --metadata-file string      Write build result metadata to a file
      --network string            Set the networking mode for the "RUN" instructions during build (default "default")
      --no-cache                  Do not use cache when building the image
      --no-cache-filter strings   Do not cache specified stages
  -o, --output stringArray        Output destination (format: "type=local,dest=path")
      --platform stringArray      Set target platform for build
      --progress string           Set type of progress output ("auto", "plain", "tty", "quiet", "rawjson") (default "auto")
      --provenance string         Provenance attestation (e.g., "mode=max"); of images that are pushed or archived
      --pull                      Always attempt to pull all referenced images
      --push                      Shorthand for "--output=type=registry"
  -q, --quiet                     Suppress the build output and print image ID on success
      --runtime string            OCI runtime to use (default: the first of crun and runc that works)
      --sbom string               Shorthand for "--attest=type=sbom"
      --secret stringArray        Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")
      --shm-size bytes            Shared memory size for build containers
      --ssh stringArray           SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")
      --state-dir string          Where layers and the local cache are kept (default: /var/lib/bluekiln, or
                                  ~/.local/share/bluekiln for an ordinary user)
  -t, --tag stringArray           Image identifier (format: "[registry/]repository[:tag]")
      --target string             Set the target build stage to build
      --ulimit ulimit             Ulimit options
`;

const BUILDER = `      --builder string          Builder to ask: its name or address (default: the current one)
`;

const STATE_DIR = `      --state-dir string        Where layers and the local cache are kept (default: /var/lib/bluekiln, or
                                ~/.local/share/bluekiln for an ordinary user)
`;

export const DU_HELP = `Usage:  bluekiln du [OPTIONS]

Disk usage

Options:
${BUILDER}      --filter filter           Provide filter values
${STATE_DIR}      --verbose                 Provide a more verbose output
`;

export const PRUNE_HELP = `Usage:  bluekiln prune [OPTIONS]

Remove build cache

Options:
  -a, --all                     Include manifests and configs of images
${BUILDER}      --filter filter           Provide filter values (e.g., "until=24h")
  -f, --force                   Do not prompt for confirmation
      --keep-storage bytes      Amount of disk space to keep for cache (same as --reserved-space)
      --max-used-space bytes    Maximum amount of disk space allowed to keep for cache
      --min-free-space bytes    Target amount of free disk space after pruning
      --reserved-space bytes    Amount of disk space always allowed to keep for cache
${STATE_DIR}      --verbose                 Provide a more verbose output
`;

export const DOCTOR_HELP = `Usage:  bluekiln doctor [OPTIONS]

Check that the state directory is sound and that steps can be run here

Options:
      --contents                Read every blob and compare its digest
      --runtime string          OCI runtime to use (default: the first of crun and runc that works)
${STATE_DIR}`;

export const DAEMON_HELP = `Usage:  bluekiln daemon [OPTIONS]

Serve BuildKit's API: docker buildx (driver remote) and buildctl build with it

Options:
      --addr stringArray                        Listening address, unix:// or tcp:// (default unix:///run/bluekiln/bluekilnd.sock)
      --allow-insecure-entitlement stringArray  Allow network.host, security.insecure or device
      --cdi-spec-dir stringArray                Folders with CDI device specs
      --config string                           Configuration file, TOML (default /etc/bluekiln/bluekilnd.toml)
      --debug                                   Say more
      --group string                            Group that may use unix sockets
      --oci-worker-binary string                OCI runtime (default: the first of crun and runc that works)
      --oci-worker-gc                           Collect garbage (default true)
      --oci-worker-labels stringArray           Labels of the worker
      --root string                             State directory (default /var/lib/bluekiln)
      --tlscacert string                        CA that clients of tcp:// have to be signed by
      --tlscert string                          Certificate for tcp://
      --tlskey string                           Its key

Credentials of caches are read from this process's environment. buildkitd's other flags are taken, and those
that have no effect are named at the start.
`;

export const CREATE_HELP = `Usage:  bluekiln create [OPTIONS] ENDPOINT

Create a builder: a daemon that speaks BuildKit's API, for bluekiln and docker buildx

Options:
      --bootstrap               Connect to it before it is created
      --driver string           Driver to use ("remote")
      --driver-opt stringArray  Options of the driver ("cacert=FILE", "cert=FILE", "key=FILE", "servername=NAME")
      --name string             Name of the builder (default: one is made up)
      --node string             Name of its node (default: the builder's, and 0)
      --platform stringArray    Platforms it is listed with
      --use                     Set the current builder

ENDPOINT is unix://PATH or tcp://HOST:PORT. Builders are kept where docker buildx keeps them.
`;

export const USE_HELP = `Usage:  bluekiln use [OPTIONS] NAME

Set the current builder; "default" builds in the process of the command

Options:
      --default                 Also after another builder was used
      --global                  With every Docker engine
`;

export const LS_HELP = `Usage:  bluekiln ls [OPTIONS]

List builders

Options:
      --format string           "table" or "json" (default "table")
      --no-trunc                Don't shorten the list of platforms
`;

export const INSPECT_HELP = `Usage:  bluekiln inspect [OPTIONS] [NAME]

Inspect a builder, or the current one

Options:
      --bootstrap               Taken, and without effect: daemons run already
${STATE_DIR}`;

export const RM_HELP = `Usage:  bluekiln rm [OPTIONS] [NAME...]

Remove builders, or the current one; their daemons stay

Options:
      --all-inactive            Remove all builders that do not answer
  -f, --force                   Do not prompt for confirmation
`;
