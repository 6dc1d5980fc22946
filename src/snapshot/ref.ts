// A result: the layer on top and all below it.
import type { BlobProvider } from "../content/index.js";
import type { LayerDescriptor, LayerKind, LayerRecord } from "./types.js";

export class Ref {
  readonly id: number;
  readonly parent: Ref | undefined;
  /** the layer that this one puts on another result */
  readonly origin: Ref | undefined;
  readonly createdAt: number;
  readonly description: string;
  readonly kind: LayerKind;
  /** its folder is what a blob says, not what a step wrote */
  readonly isUnpacked: boolean;
  blob: LayerDescriptor | undefined;
  /** the same content in other compressions */
  variants: readonly LayerDescriptor[];
  /** where the blob can be had, the one to ask first first */
  providers: readonly BlobProvider[] = [];
  /** its blob does not unpack to what it should; another blob may */
  isBroken = false;
  /** last use that the database knows of; see `Activity` */
  stamp = 0;

  constructor(id: number, record: LayerRecord, parent: Ref | undefined, origin: Ref | undefined) {
    this.id = id;
    this.parent = parent;
    this.origin = origin;
    this.createdAt = record.createdAt;
    this.description = record.description;
    this.kind = record.kind ?? "regular";
    this.isUnpacked = record.isUnpacked ?? false;
    this.blob = record.blob;
    this.variants = record.variants ?? [];
  }

  /** lowest first */
  get chain(): Ref[] {
    const chain: Ref[] = [];
    for (let ref: Ref | undefined = this; ref; ref = ref.parent) chain.push(ref); // eslint-disable-line @typescript-eslint/no-this-alias
    return chain.reverse();
  }

  get record(): LayerRecord {
    const { parent, origin, blob, variants, createdAt, description, kind, isUnpacked } = this;
    return {
      parent: parent?.id,
      blob,
      createdAt,
      description,
      ...(variants.length > 0 && { variants }),
      ...(origin && { origin: origin.id }),
      ...(kind !== "regular" && { kind }),
      ...(isUnpacked && { isUnpacked }),
    };
  }
}
