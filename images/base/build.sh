#!/bin/sh
# Makes a base image for images/runtime/Dockerfile from Debian packages alone, for places that reach a Debian mirror but
# no image registry: build.sh IMAGE. Needs root, mmdebstrap and a Docker engine. It holds Python, time zones and what
# these need: no shell and no package manager.
# libstdc++ is what numpy in awm-control needs.
# The file system is kept in the user's cache, under a key of this script, the machine and apt's package lists.
set -eu

image="${1:?the name of the image to make}"
suite="$(. /etc/os-release && echo "$VERSION_CODENAME")"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/awm-fleet"
key="$({ cat "$0"; dpkg --print-architecture; cat /var/lib/apt/lists/*InRelease 2>/dev/null || :; } | sha256sum | cut -c1-16)"
archive="$cache/base-$key.tar"

if [ ! -s "$archive" ]; then
  mkdir -p "$cache"
  tree="$(mktemp -d)"
  trap 'rm -rf "$tree"' EXIT
  mmdebstrap --quiet --variant=extract --include=python3,libstdc++6,tzdata,netbase,media-types "$suite" "$tree/root"
  cd "$tree/root"
  # Maintainer scripts did not run, and what they need is not needed.
  rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/debconf usr/share/lintian usr/share/bug usr/share/perl5 \
    usr/share/dpkg usr/share/keyrings usr/lib/dpkg usr/lib/apt usr/sbin/dpkg* usr/bin/dpkg* usr/bin/debconf* \
    usr/bin/update-alternatives usr/lib/python3.*/idlelib usr/lib/python3.*/lib2to3/tests usr/lib/*/gconv \
    usr/lib/*/perl* etc/apt etc/dpkg etc/cron.* var/lib/dpkg var/lib/apt var/cache var/log bin/tar usr/bin/tar
  mkdir -p tmp var/cache var/log
  chmod 1777 tmp
  printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'awm:x:10001:10001:awm:/nonexistent:/sbin/nologin' >etc/passwd
  printf '%s\n' 'root:x:0:' 'awm:x:10001:' >etc/group
  tar --sort=name --mtime=@0 --numeric-owner --exclude=./dev/* -cf "$tree/base.tar" .
  cd / && mv "$tree/base.tar" "$archive"
fi
docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --message "Python of Debian $suite" "$archive" "$image" >/dev/null
