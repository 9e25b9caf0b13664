"""Which patient an image shows. The header of a DICOM file tells it, else the name of the file. If neither does, the
image counts as the only one of its patient.

Splits and bootstrap intervals are made of whole patients.
"""

import hashlib
import io
import re
from pathlib import PurePosixPath

from handler.imaging.dicom import is_dicom

PATIENT = r"^(person\d+|(?:NORMAL2-)?IM-\d+)"
"""The part of a file name that names the patient in this data set; up to 30 images share one."""


def told_patient(file: str, data: bytes, pattern: str = PATIENT) -> str | None:
    """The patient of an image, if its header or its name tells.

    Args:
        file: path below the data folder, with forward slashes.
        data: content of the file, which can be decoded.
        pattern: regular expression on the file name whose first group is the patient.

    Returns:
        A name that two images share if they show one person. The PatientID of a DICOM file is hashed. That is a
        pseudonym: whoever knows the form of the ids can find them by hashing all that are possible.
    """
    if patient_id := _patient_id(data):
        return f"dicom-{hashlib.sha256(patient_id.encode()).hexdigest()[:16]}"
    match = re.search(pattern, PurePosixPath(file).name)
    return match.group(1) if match else None


def _patient_id(data: bytes) -> str:
    """The PatientID of a DICOM file; "" where there is none."""
    if not is_dicom(data):
        return ""
    import pydicom

    try:
        file = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True, specific_tags=["PatientID"])
    except Exception:  # it raises a dozen unrelated types where a header is odd; the pixels could be read all the same
        return ""
    return str(file.get("PatientID") or "").strip()


def patient_of(file: str, data: bytes, pattern: str = PATIENT) -> str:
    """As `told_patient`; an image of which nothing tells the patient is a person of its own, known by its path."""
    return told_patient(file, data, pattern) or file
