// The rules of BuildKit's linter: name, description and address of each, worded as BuildKit words them.
// Source: the rule reference of the Dockerfile frontend, and check.json of the recordings.

interface RuleText {
  readonly slug: string;
  readonly description: string;
  /** only on request */
  readonly experimental?: true;
}

const RULES = {
  ConsistentInstructionCasing: {
    slug: "consistent-instruction-casing",
    description: "All commands within the Dockerfile should use the same casing (either upper or lower)",
  },
  CopyIgnoredFile: {
    slug: "copy-ignored-file",
    description: "Attempting to Copy file that is excluded by .dockerignore",
  },
  DuplicateStageName: { slug: "duplicate-stage-name", description: "Stage names should be unique" },
  ExposeInvalidFormat: {
    slug: "expose-invalid-format",
    description:
      "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
  },
  ExposeProtoCasing: {
    slug: "expose-proto-casing",
    description: "Protocol in EXPOSE instruction should be lowercase",
  },
  FromAsCasing: {
    slug: "from-as-casing",
    description: "The 'as' keyword should match the case of the 'from' keyword",
  },
  FromPlatformFlagConstDisallowed: {
    slug: "from-platform-flag-const-disallowed",
    description: "FROM --platform flag should not use a constant value",
  },
  InvalidBaseImagePlatform: {
    slug: "invalid-base-image-platform",
    description: "Base image platform does not match expected target platform",
  },
  InvalidDefaultArgInFrom: {
    slug: "invalid-default-arg-in-from",
    description: "Default value for global ARG results in an empty or invalid base image name",
  },
  InvalidDefinitionDescription: {
    slug: "invalid-definition-description",
    description:
      "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    experimental: true,
  },
  JSONArgsRecommended: {
    slug: "json-args-recommended",
    description:
      "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
  },
  LegacyKeyValueFormat: {
    slug: "legacy-key-value-format",
    description: "Legacy key/value format with whitespace separator should not be used",
  },
  MaintainerDeprecated: {
    slug: "maintainer-deprecated",
    description: "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
  },
  MultipleInstructionsDisallowed: {
    slug: "multiple-instructions-disallowed",
    description: "Multiple instructions of the same type should not be used in the same stage",
  },
  NoEmptyContinuation: {
    slug: "no-empty-continuation",
    description: "Empty continuation lines will become errors in a future release",
  },
  RedundantTargetPlatform: {
    slug: "redundant-target-platform",
    description:
      "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
  },
  ReservedStageName: {
    slug: "reserved-stage-name",
    description: "Reserved words should not be used as stage names",
  },
  SecretsUsedInArgOrEnv: {
    slug: "secrets-used-in-arg-or-env",
    description: "Sensitive data should not be used in the ARG or ENV commands",
  },
  StageNameCasing: { slug: "stage-name-casing", description: "Stage names should be lowercase" },
  UndefinedArgInFrom: { slug: "undefined-arg-in-from", description: "FROM command must use declared ARGs" },
  UndefinedVar: { slug: "undefined-var", description: "Variables should be defined before their use" },
  WorkdirRelativePath: {
    slug: "workdir-relative-path",
    description:
      "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
  },
} as const satisfies Record<string, RuleText>;

export type RuleName = keyof typeof RULES;

export function ruleOf(name: RuleName): RuleText {
  return RULES[name];
}
