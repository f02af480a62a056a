"""What `ach.pyz` runs first. It needs nothing but Python, reads like Python 3.6, and says what is wrong in a sentence.

The file unpacks itself once into a folder of the user, since extension modules are loaded from files. Anyone who can
write into that folder runs code as the user: it has to be private.
"""

import os
import stat
import sys

NOEXEC = getattr(os, "ST_NOEXEC", 8)


def main():
    """Check the Python and the folder, unpack if need be, and run the command."""
    if not sys.flags.isolated:
        # Neither PYTHONPATH nor the current folder may put a package of its own in the place of ours.
        os.execv(sys.executable, [sys.executable, "-I", *sys.argv])  # noqa: S606 - the same program, without a shell
    from _bootstrap import bootstrap, cache_path, current_zipfile, extract_site_packages
    from _bootstrap.environment import Environment

    with current_zipfile() as archive:
        environment = Environment.from_json(archive.read("environment.json").decode())
        check_python(archive.read("python.txt").decode())
        root = folder(os.environ)
        os.environ["SHIV_ROOT"] = root
        target = cache_path(archive, root, environment.build_id)
        try:
            os.makedirs(root, mode=0o700, exist_ok=True)
            check_folder(root)
            if not (target / "site-packages").exists():
                extract_site_packages(archive, target, compile_pyc=True, compile_workers=1)
        except OSError as error:
            refuse(f"cannot unpack into {root}: {error.strerror or error}")
    bootstrap()


def check_python(wanted):
    """Refuse a Python that the extension modules inside were not made for."""
    found = "{} {}.{} {} {}".format(sys.implementation.name, *sys.version_info[:2], sys.platform, os.uname().machine)
    if found != wanted:
        refuse(f"made for {wanted}, and this is {found} ({sys.executable})", "run it with that Python")


def folder(environment):
    """Return where to unpack: SHIV_ROOT, the cache that systemd made for a service, or the user's cache."""
    given = environment.get("SHIV_ROOT") or environment.get("CACHE_DIRECTORY", "").split(":")[0]
    cache = environment.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    chosen = os.path.expanduser(given or os.path.join(cache, "ach"))
    return os.path.abspath(chosen)


def check_folder(root):
    """Refuse a folder that another user can write into, or from which no extension module can be loaded."""
    found = os.stat(root)
    if found.st_uid not in (0, os.geteuid()):
        refuse(f"{root} belongs to another user, who could put code there")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        refuse(f"other users can write into {root}, and could put code there")
    if os.statvfs(root).f_flag & NOEXEC:
        refuse(f"{root} is mounted noexec, and extension modules cannot be loaded from there")


def refuse(what, hint="set SHIV_ROOT to a private folder that is writable and not mounted noexec"):
    """End with a sentence and a hint."""
    sys.exit(f"ach.pyz: {what}\n  hint: {hint}")
