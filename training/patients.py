"""Find the patient of an image: in the header of a DICOM file, otherwise in the file name. If neither names the
patient, the image counts as a separate patient.

Splits and bootstrap intervals use whole patients.
"""

import hashlib
import io
import re
from pathlib import PurePosixPath

from handler.imaging.dicom import is_dicom

PATIENT = r"^(person\d+|(?:NORMAL2-)?IM-\d+)"
"""The part of a file name that names the patient in this data set; up to 30 images share one."""


def told_patient(file: str, data: bytes, pattern: str = PATIENT) -> str | None:
    """Return the patient of an image; None if neither its header nor its name contains the patient.

    Args:
        file: path below the data folder, with forward slashes.
        data: content of a file that can be decoded.
        pattern: regular expression on the file name whose first group is the patient.

    Returns:
        A name, equal for all images of one person. The PatientID of a DICOM file is hashed. The hash is a pseudonym and
        not anonymous: if the format of the ids is known, it can be reversed by hashing all possible ids.
    """
    if patient_id := _patient_id(data):
        return f"dicom-{hashlib.sha256(patient_id.encode()).hexdigest()[:16]}"
    match = re.search(pattern, PurePosixPath(file).name)
    return match.group(1) if match else None


def _patient_id(data: bytes) -> str:
    """The PatientID of a DICOM file; "" if there is none."""
    if not is_dicom(data):
        return ""
    import pydicom

    try:
        file = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True, specific_tags=["PatientID"])
    except Exception:  # pydicom raises many unrelated types for an invalid header, even if the pixels are readable
        return ""
    return str(file.get("PatientID") or "").strip()


def patient_of(file: str, data: bytes, pattern: str = PATIENT) -> str:
    """Return `told_patient`, or the path of the file if its patient is unknown, so that it counts as a separate
    patient."""
    return told_patient(file, data, pattern) or file
