"""Compiles the standard library and all packages of this interpreter; run while an image is built.

The bytecode is trusted without a look at the source: a look costs time at each start, and nobody can change either.
"""

import compileall
import py_compile
import re
import sysconfig

# What no server imports, or what is there to be no valid Python.
LEFT_OUT = re.compile(r"/(test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|distutils|dist-packages)/")


def main() -> None:
    """Compiles what can be compiled; a broken example in a package is no reason to stop."""
    for folder in sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}):
        compileall.compile_dir(
            folder,
            maxlevels=20,
            rx=LEFT_OUT,
            quiet=2,
            workers=0,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


if __name__ == "__main__":
    main()
